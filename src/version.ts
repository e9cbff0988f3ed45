import manifest from '../package.json' with { type: 'json' };

/** The version of nomad-rootless, from package.json. */
export const VERSION: string = manifest.version;
