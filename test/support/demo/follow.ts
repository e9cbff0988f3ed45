import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { AgentProcess } from '../agent.ts';
import { TASK } from './jobs.ts';
import type { Placed } from './scene.ts';
import type { Screen } from './screen.ts';

const INTERVAL_MS = 100;
const INFO = 30;
const ALLOCATION_ID = /\b([0-9a-f]{8})-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/g;

/** What we read of a line of the agent's log. */
const LogLine = z.looseObject({
  level: z.number(),
  time: z.string(),
  message: z.string(),
  allocation: z.string().optional(),
  reason: z.string().optional(),
});

interface Happening {
  readonly time: number;
  readonly who: string;
  readonly what: string;
}

/** Shows what the agent logs and what Nomad tells of the tasks, soon after it happens. */
export class Follower {
  readonly #screen: Screen;
  readonly #agent: AgentProcess;
  readonly #shorten: (text: string) => string;
  readonly #placed = new Map<Placed, number>();
  #lines = 0;

  /** @param dataDir shown as `<data_dir>`, for it is long */
  constructor(screen: Screen, agent: AgentProcess, dataDir: string) {
    this.#screen = screen;
    this.#agent = agent;
    this.#shorten = (text) => text.replaceAll(dataDir, '<data_dir>').replace(ALLOCATION_ID, '$1…');
  }

  /** Shows the events of this allocation's task too. */
  add(placed: Placed): void {
    this.#placed.set(placed, 0);
  }

  /** Shows what happens while `action` runs. @returns what it returns */
  async during<T>(action: () => Promise<T>): Promise<T> {
    const ended = new AbortController();
    const following = this.#follow(ended.signal);
    try {
      return await action();
    } finally {
      ended.abort();
      await following;
    }
  }

  async #follow(ended: AbortSignal): Promise<void> {
    for (let last = false; !last; ) {
      last = ended.aborted;
      await this.#show();
      await sleep(INTERVAL_MS, undefined, { signal: ended }).catch(() => undefined);
    }
  }

  async #show(): Promise<void> {
    const events = await Promise.all([...this.#placed.keys()].map((placed) => this.#newEvents(placed)));
    const happened = [...this.#newLines(), ...events.flat()].sort((a, b) => a.time - b.time);
    for (const { time, who, what } of happened) this.#screen.happened(who, this.#shorten(what), time);
  }

  #newLines(): Happening[] {
    const lines = this.#agent.log.slice(this.#lines);
    this.#lines += lines.length;
    return lines.flatMap((line) => {
      const logged = parse(line);
      if (!logged) return [{ time: Date.now(), who: 'agent', what: line }];
      if (logged.level < INFO) return [];
      const { time, message, allocation, reason } = logged;
      const about = allocation === undefined || message.includes(allocation) ? '' : `${allocation}: `;
      const because = reason === undefined ? '' : `: ${reason}`;
      return [{ time: Date.parse(time), who: 'agent', what: `${about}${message}${because}` }];
    });
  }

  async #newEvents(placed: Placed): Promise<Happening[]> {
    const seen = this.#placed.get(placed) ?? 0;
    const events = await eventsOf(placed);
    this.#placed.set(placed, Math.max(seen, events.length));
    return events.slice(seen).map(({ Time, Type, DisplayMessage }) => ({
      time: Time / 1e6,
      who: 'nomad',
      what: `${placed.jobId}: ${Type}: ${DisplayMessage}`,
    }));
  }
}

/** None before the client has begun with the task. */
async function eventsOf({ allocation }: Placed) {
  try {
    return await allocation.events(TASK);
  } catch {
    return [];
  }
}

/** A line that is no log line of ours (a stack trace, say) is shown as it is. */
function parse(line: string) {
  try {
    return LogLine.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
