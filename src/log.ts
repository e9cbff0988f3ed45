import { pino } from 'pino';
import { printable } from './printable.ts';

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
  /** Whether the journal reads it: each line then begins with its priority. */
  readonly isJournal?: boolean;
}

/** Writes one JSON object a line with ISO times, or (`pretty`) a line for people; to standard output unless told. */
export function createLog(options: LogOptions, destination: pino.DestinationStream = pino.destination(1)): Log {
  const settings = { level: 'trace', base: null, messageKey: 'message', timestamp: pino.stdTimeFunctions.isoTime };
  return new LevelLog(pino(settings, linesTo(destination, options)), options);
}

/** Of syslog(3), by pino's levels; sd-daemon(3) has them before a line as <N>, and `journalctl -p` goes by them. */
const PRIORITIES: Readonly<Record<number, number>> = { 10: 7, 20: 7, 30: 6, 40: 4, 50: 3, 60: 2 };

/** Writes lines as `options` say. pino says at which level each is, where the stream asks for that by this symbol. */
function linesTo(destination: pino.DestinationStream, { format, isJournal = false }: LogOptions) {
  const lines = {
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 0,
    write: (line: string) => {
      const priority = isJournal ? `<${PRIORITIES[lines.lastLevel] ?? 6}>` : '';
      destination.write(priority + (format === 'json' ? line : toText(line)));
    },
  };
  return lines;
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

/** What others have put into it cannot steer the terminal, nor begin a line of its own. */
function toText(line: string): string {
  const { time, level, message, ...fields }: Record<string, unknown> = JSON.parse(line);
  const shown = Object.entries(fields).map(
    ([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const text = `${time} ${(LEVELS[Number(level)] ?? '').padEnd(5)} ${message}${shown.join('')}`;
  return `${printable(text)}\n`;
}
