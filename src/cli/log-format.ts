import type { Config } from '../config/config.ts';
import type { StandardOutput } from '../linux/standard-output.ts';

/** The format of the log: as configured, or else for people on a terminal and for programs elsewhere. */
export function logFormat(configured: Config['log']['format'], output: StandardOutput): 'json' | 'pretty' {
  if (configured !== 'auto') return configured;
  return output === 'terminal' ? 'pretty' : 'json';
}
