/**
 * `npm run demo`: the main path in one throwaway sandbox, checked at each step. `--nomad` takes the real `nomad` on PATH
 * and the driver in NOMAD_PLUGIN_DIR in place of the stand-in. Exit code 0 only if everything held.
 */
import { messageOf } from '../../src/errors.ts';
import { Checks } from './demo/checks.ts';
import { runDemo } from './demo/run-demo.ts';
import { Screen } from './demo/screen.ts';
import { isInNamespaces, runInNamespaces } from './namespaces.ts';

const [, script = '', ...args] = process.argv;
process.exitCode = await main();

async function main(): Promise<number> {
  const unknown = args.find((arg) => arg !== '--nomad');
  if (unknown !== undefined) return refuse(`the demo knows --nomad, not ${unknown}`);
  if (args.length > 0 && process.env.NOMAD_PLUGIN_DIR === undefined) {
    return refuse('--nomad needs NOMAD_PLUGIN_DIR, the directory with nomad-driver-podman');
  }
  if (process.getuid?.() !== 0) return refuse('the demo needs root: it makes users, mounts and namespaces of its own');
  if (!isInNamespaces()) return runInNamespaces([process.execPath, script, ...args]);
  const screen = new Screen();
  const checks = new Checks(screen);
  try {
    await runDemo(screen, checks, args.includes('--nomad'));
  } catch (error) {
    checks.check(`the demo got to its end (${messageOf(error)})`, false);
  }
  return checks.conclude();
}

function refuse(message: string): number {
  console.error(message);
  return 1;
}
