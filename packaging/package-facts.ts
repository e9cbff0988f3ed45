import manifest from '../package.json' with { type: 'json' };

/** What every kind of package says of this one. */
export const PACKAGE = {
  name: manifest.name,
  version: manifest.version,
  license: manifest.license,
  summary: "rootless Podman for Nomad's tasks: the agent of a Nomad client",
  /** In lines of less than 80 characters. */
  description: [
    "Runs the Podman tasks of a Nomad client in their users' rootless Podman, on a",
    'data dir that stays shut, with an unmodified Nomad and an unmodified podman',
    'driver. Brings the Node.js that runs it. Nothing is started before it is',
    'configured: `nomad-rootless setup USER` prepares a user.',
  ],
  configFile: '/etc/nomad-rootless/config.yaml',
} as const;
