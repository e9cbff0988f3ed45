import { execFile } from 'node:child_process';
import { NotYetError } from '../../errors.ts';

/** What a plugin is told: the CNI specification, section 2, parameters and configuration. */
export interface CniCall {
  readonly command: 'DEL';
  /** Absolute, and root's. */
  readonly program: string;
  readonly containerId: string;
  /** Path of the network namespace. */
  readonly netns: string;
  readonly interfaceName: string;
  /** The directories that plugins find others in, as PATH has it. */
  readonly pluginPath: string;
  readonly config: object;
}

/** Plugins call iptables and the like by name. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const TIMEOUT_MS = 30_000;
const MOST_BYTES = 1024 * 1024;

/**
 * Runs a CNI plugin as root, with nothing of our environment.
 * @throws NotYetError `cni_failed` with what the plugin says: an error goes to its standard output as JSON
 */
export function runCniPlugin(call: CniCall): Promise<void> {
  const env = {
    PATH,
    CNI_COMMAND: call.command,
    CNI_CONTAINERID: call.containerId,
    CNI_NETNS: call.netns,
    CNI_IFNAME: call.interfaceName,
    CNI_PATH: call.pluginPath,
    CNI_ARGS: '',
  };
  const options = { cwd: '/', env, timeout: TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: MOST_BYTES } as const;
  return new Promise((resolve, reject) => {
    const child = execFile(call.program, [], options, (error, stdout, stderr) => {
      if (!error) return resolve();
      const said = `${stdout}${stderr}`.trim().slice(0, 500);
      const message = `${call.program} (${call.command}) for ${call.containerId}: ${said || error.message}`;
      reject(new NotYetError('cni_failed', message, said ? undefined : error));
    });
    child.stdin?.on('error', () => undefined); // it ended before it read: its exit says so
    child.stdin?.end(JSON.stringify(call.config));
  });
}
