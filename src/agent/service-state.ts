import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import type { ServiceManager } from '../linux/service-manager.ts';
import type { Log } from '../log.ts';
import { WarnedOnce } from '../warned-once.ts';

/** How often the text that `systemctl status` shows is brought up to date, in milliseconds. */
const TOLD_EACH_MS = 5000;

/** What tells the service manager how the agent is: states, and that its main loop turns. */
export class ServiceState {
  readonly #manager: Pick<ServiceManager, 'announce' | 'notify' | 'watchdogMs'>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #text: () => string;
  #told = '';
  readonly #warned: WarnedOnce;
  #stopTimer: () => void = () => undefined;

  /** @param text what people are told of the agent, in a line */
  constructor(
    manager: Pick<ServiceManager, 'announce' | 'notify' | 'watchdogMs'>,
    { clock, log, text }: { clock: Clock; log: Log; text: () => string },
  ) {
    this.#manager = manager;
    this.#clock = clock;
    this.#log = log;
    this.#text = text;
    this.#warned = new WarnedOnce(clock);
  }

  /** The gates are open and answer. From here on the manager hears that the main loop turns. */
  ready(): void {
    this.#announce('READY=1');
    this.#tell();
  }

  /** The configuration is being read again; `ready` is said when it is done. */
  reloading(): void {
    this.#announce('RELOADING=1');
  }

  /**
   * What is under way is brought to its end.
   * @param ms for which the manager does not kill us; sd_notify(3): where that is less than TimeoutStopSec, that counts
   */
  stopping(ms: number): void {
    const extended = `EXTEND_TIMEOUT_USEC=${ms * 1000}`;
    this.#announce('STOPPING=1', 'STATUS=Stopping: answering the requests that are under way', extended);
  }

  /** Nothing is said any more. */
  end(): void {
    this.#stopTimer();
  }

  #tell(): void {
    const text = this.#text().replaceAll('\n', ' ');
    const status = text === this.#told ? [] : [`STATUS=${text}`];
    this.#told = text;
    this.#say(...status, ...(this.#manager.watchdogMs === undefined ? [] : ['WATCHDOG=1']));
    this.#stopTimer();
    this.#stopTimer = this.#clock.after(Math.min(TOLD_EACH_MS, (this.#manager.watchdogMs ?? TOLD_EACH_MS) / 3), () =>
      this.#tell(),
    );
  }

  #announce(...assignments: readonly string[]): void {
    this.#try(() => this.#manager.announce(...assignments));
  }

  #say(...assignments: readonly string[]): void {
    if (assignments.length > 0) this.#try(() => this.#manager.notify(...assignments));
  }

  #try(tell: () => void): void {
    try {
      tell();
      this.#warned.over('notify');
    } catch (error) {
      const reason = messageOf(error);
      this.#log[this.#warned.levelOf('notify', reason)]({ reason }, 'cannot notify the service manager');
    }
  }
}
