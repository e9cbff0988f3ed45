import { pino } from 'pino';

/** The part of a logger that the code uses; pino's own shape: fields first, then the message. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: Record<string, unknown>): Log;
}

/** How to write the log: `level` as pino has it; it is looked at for each line, so that it can change. */
export interface LogOptions {
  readonly level: string;
  readonly format: 'json' | 'pretty';
}

/** Writes to standard output: one JSON object a line with ISO times, or (`pretty`) a line for people. */
export function createLog(options: LogOptions): Log {
  const settings = { level: 'trace', base: null, messageKey: 'message', timestamp: pino.stdTimeFunctions.isoTime };
  const logger =
    options.format === 'json'
      ? pino(settings)
      : pino(settings, { write: (line) => process.stdout.write(toText(line)) });
  return new LevelLog(logger, options);
}

/** pino gives each child a level of its own, which does not follow its parent's. */
class LevelLog implements Log {
  readonly #logger: pino.Logger;
  readonly #options: Pick<LogOptions, 'level'>;

  constructor(logger: pino.Logger, options: Pick<LogOptions, 'level'>) {
    this.#logger = logger;
    this.#options = options;
  }

  debug(fields: object, message: string): void {
    if (this.#writes('debug')) this.#logger.debug(fields, message);
  }

  info(fields: object, message: string): void {
    if (this.#writes('info')) this.#logger.info(fields, message);
  }

  warn(fields: object, message: string): void {
    if (this.#writes('warn')) this.#logger.warn(fields, message);
  }

  error(fields: object, message: string): void {
    if (this.#writes('error')) this.#logger.error(fields, message);
  }

  child(fields: Record<string, unknown>): Log {
    return new LevelLog(this.#logger.child(fields), this.#options);
  }

  #writes(level: pino.Level): boolean {
    const least = pino.levels.values[this.#options.level] ?? Number.POSITIVE_INFINITY;
    return (pino.levels.values[level] ?? 0) >= least;
  }
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
