import * as z from 'zod';
import { parseJson } from '../parse.ts';

/** The longest text that is passed on, in characters: it becomes an attribute of the node, in Nomad's state. */
const MOST_TEXT = 4096;

const text = z.string().max(MOST_TEXT).nullish();
const flag = z.boolean().nullish();
const number = z.int().nullish();
const program = z.object({ name: text, package: text, path: text, executable: text, version: text }).nullish();

/**
 * What Podman says of itself (libpod/define/info.go), as far as the driver has a use for it: the scalars of Info in
 * api/structs.go of nomad-driver-podman, which Go decodes all or nothing.
 */
const Info = z.object({
  host: z
    .object({
      arch: text,
      buildahVersion: text,
      cgroupManager: text,
      cgroupVersion: text,
      conmon: program,
      cpus: number,
      distribution: z.object({ distribution: text, version: text }).nullish(),
      eventLogger: text,
      hostname: text,
      kernel: text,
      linkmode: text,
      memFree: number,
      memTotal: number,
      ociRuntime: program,
      os: text,
      pasta: program,
      remoteSocket: z.object({ path: text, exists: flag }).nullish(),
      security: z
        .object({
          apparmorEnabled: flag,
          capabilities: text,
          rootless: flag,
          seccompEnabled: flag,
          selinuxEnabled: flag,
        })
        .nullish(),
      slirp4netns: program,
      swapFree: number,
      swapTotal: number,
      uptime: text,
    })
    .nullish(),
  store: z
    .object({
      configFile: text,
      containerStore: z.object({ number, paused: number, running: number, stopped: number }).nullish(),
      graphDriverName: text,
      graphRoot: text,
      imageStore: z.object({ number }).nullish(),
      runRoot: text,
      volumePath: text,
    })
    .nullish(),
  version: z
    .object({
      APIVersion: text,
      Version: text,
      GoVersion: text,
      GitCommit: text,
      BuiltTime: text,
      Built: number,
      OsArch: text,
    })
    .nullish(),
});

/**
 * The body of an answer to `info`, written anew with nothing but what the driver reads. Stops a user whose answer is JSON that
 * Go's decoder does not take (a number for a text, `1.0` for a whole number, `HOST` beside `host`, ten thousand brackets): the
 * driver would call itself unhealthy for everybody. Does not stop her from saying what is not so.
 * @param where what the answer is, for the error
 * @throws ParseError
 */
export function infoOf(body: string, where: string): string {
  return JSON.stringify(parseJson(Info, body, where));
}
