import { pino } from 'pino';

/** The part of a logger that the code uses; pino's own shape: fields first, then the message. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: Record<string, unknown>): Log;
}

/** How to write the log: `level` as pino has it. */
export interface LogOptions {
  readonly level: string;
  readonly format: 'json' | 'pretty';
}

/** Writes to standard output: one JSON object a line with ISO times, or (`pretty`) a line for people. */
export function createLog({ level, format }: LogOptions): Log {
  const options = { level, base: null, messageKey: 'message', timestamp: pino.stdTimeFunctions.isoTime };
  return format === 'json' ? pino(options) : pino(options, { write: (line) => process.stdout.write(toText(line)) });
}

const LEVELS: Readonly<Record<number, string>> = {
  10: 'TRACE',
  20: 'DEBUG',
  30: 'INFO',
  40: 'WARN',
  50: 'ERROR',
  60: 'FATAL',
};

function toText(line: string): string {
  const { time, level, message, ...fields }: Record<string, unknown> = JSON.parse(line);
  const shown = Object.entries(fields).map(
    ([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${time} ${(LEVELS[Number(level)] ?? '').padEnd(5)} ${message}${shown.join('')}\n`;
}
