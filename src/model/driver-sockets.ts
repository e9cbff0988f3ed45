import { posix } from 'node:path';

/** One socket of the podman driver's configuration. */
export interface DriverSocket {
  /** The name by which tasks choose it. */
  readonly name: string;
  /** The path without `unix://`; as it stands where the scheme is another. */
  readonly path: string;
}

/** What the driver's sockets are held against. */
export interface ServedUsers {
  /** Where the gates are; undefined where there are none: then tasks go straight to their users' Podmans. */
  readonly gateDir: string | undefined;
  /** The configured users, each with the path of her own Podman's socket; undefined while that is not known. */
  readonly podmanSockets: ReadonlyMap<string, string | undefined>;
}

/**
 * Where the driver's sockets and the configured users do not fit, in words: a socket in the directory of the gates that is
 * no gate, one that leads past a gate, one with the name of another user, a user whom no socket leads to. Sockets elsewhere,
 * such as root's Podman, are the operator's own.
 */
export function driverSocketWarnings(sockets: readonly DriverSocket[], served: ServedUsers): string[] {
  const users = [...served.podmanSockets.keys()];
  if (users.length === 0) return [];
  if (sockets.length === 0) {
    return [
      `Nomad names no socket of the podman driver, so that no task can run as ${users.join(', ')}: add socket blocks to plugin "nomad-driver-podman" in Nomad's configuration`,
    ];
  }
  const paths = new Map(users.map((user) => [user, pathFor(user, served)]));
  return [
    ...sockets.flatMap((socket) => warningOf(socket, paths, served) ?? []),
    ...users.flatMap((user) => {
      const path = paths.get(user);
      if (path === undefined || sockets.some((socket) => isSame(socket.path, path))) return [];
      const named = sockets.find(({ name }) => name === user);
      const block = named
        ? `socket "${user}" is ${named.path}; set socket_path = "unix://${path}"`
        : `add socket { name = "${user}" socket_path = "unix://${path}" }`;
      return [
        `no socket of the podman driver leads to ${path}, so that no task can run as ${user}: in plugin "nomad-driver-podman" of Nomad's configuration ${block}, and restart Nomad`,
      ];
    }),
  ];
}

function warningOf(
  { name, path }: DriverSocket,
  paths: ReadonlyMap<string, string | undefined>,
  { gateDir, podmanSockets }: ServedUsers,
): string | undefined {
  const socket = `socket "${name}" of the podman driver is ${path}`;
  const user = [...paths].find(([, expected]) => expected !== undefined && isSame(path, expected))?.[0];
  if (user !== undefined) {
    if (name === user || !paths.has(name)) return undefined;
    return `${socket}, which is ${user}'s: tasks of ${name} that name it are refused; correct socket_path in Nomad's configuration`;
  }
  if (gateDir === undefined) return undefined;
  if (normal(path).startsWith(`${normal(gateDir)}/`)) {
    return `${socket}, where no gate is: correct socket_path in Nomad's configuration, or add the user to users in nomad-rootless's (configured: ${[...paths.keys()].join(', ')})`;
  }
  const passed = [...podmanSockets].find(([, own]) => own !== undefined && isSame(path, own))?.[0];
  if (passed === undefined) return undefined;
  return `${socket}, ${passed}'s own Podman: without the gate nothing waits until an allocation is ready; set socket_path = "unix://${gateOf(passed, gateDir)}"`;
}

function pathFor(user: string, { gateDir, podmanSockets }: ServedUsers): string | undefined {
  return gateDir === undefined ? podmanSockets.get(user) : gateOf(user, gateDir);
}

function gateOf(user: string, gateDir: string): string {
  return posix.join(gateDir, `${user}.sock`);
}

function isSame(a: string, b: string): boolean {
  return normal(a) === normal(b);
}

/** /var/run leads to /run, file-hierarchy(7). */
function normal(path: string): string {
  return posix.normalize(path).replace(/^\/var\/run\//, '/run/');
}
