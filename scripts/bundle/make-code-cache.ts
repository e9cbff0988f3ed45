/**
 * `node make-code-cache.ts BUNDLE CONFIG`: writes BUNDLE.cache, V8's code cache of what is needed to start. V8 compiles a
 * function when it is first called, so each command is run: all but check-config end where their configuration is not there.
 */
import { writeFileSync } from 'node:fs';
import { compileBundle, runBundle } from './script.ts';

const [node = '', , bundle = '', config = ''] = process.argv;
const missing = `${bundle}.no-config`;
const script = compileBundle(bundle);
for (const [command, file] of [
  ['agent', missing],
  ['cleanup', missing],
  ['status', missing],
  ['check-config', config],
] as const) {
  process.argv = [node, bundle, command, '--config', file];
  await runBundle(script, bundle)['ended'];
}
writeFileSync(`${bundle}.cache`, script.createCachedData());
process.exitCode = 0;
