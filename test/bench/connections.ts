import { rmSync } from 'node:fs';
import type { Bench } from './bench.ts';
import { startHaproxy } from './haproxy.ts';
import { startInstantPodman } from './instant-podman.ts';
import type { MeasuredProcess } from './measured-process.ts';
import { type Summary, summarize } from './samples.ts';
import { TimedApi } from './timed-api.ts';

/** One way to a Podman. */
export interface Way extends Summary {
  /** Of what stands between, in milliseconds for 1,000 requests; undefined where nothing does. */
  readonly cpu: number | undefined;
}

/** The same small request by each way. The proxies' are undefined where there is no haproxy on this machine. */
export interface Ways {
  /** On one connection to Podman. */
  readonly kept: Way;
  /** By a connection to Podman for each. */
  readonly direct: Way;
  /** By a connection to the gate for each. */
  readonly gate: Way;
  readonly haproxyTcp: Way | undefined;
  readonly haproxyHttp: Way | undefined;
}

/** What a connection for each request costs. */
export interface ConnectionResults {
  /** Before a real Podman. */
  readonly podman: Ways;
  /** Before one that answers at once, so that nothing hides what stands between. */
  readonly instant: Ways;
}

/** A list of no containers: for its version Podman starts other programs. */
const REQUEST = '/v1.0.0/libpod/containers/json';
const PODMAN_ROUNDS = 1000;
const INSTANT_ROUNDS = 3000;

/** Measures each way to a user's Podman in turn, so that all see the same noise of the machine. */
export async function measureConnections(
  { sandbox, agent, gateSocket }: Bench,
  name: string,
): Promise<ConnectionResults> {
  const user = sandbox.user(name);
  const waysTo = async (rounds: number): Promise<Ways> => {
    await using stack = new AsyncDisposableStack();
    const tcp = await startHaproxy(sandbox.directory, 'tcp', user.socket);
    if (tcp) stack.use(tcp.process);
    const http = await startHaproxy(sandbox.directory, 'http', user.socket);
    if (http) stack.use(http.process);
    const way = (socket: string, between?: MeasuredProcess, isKept = false) =>
      new MeasuredWay(stack.use(new TimedApi(socket, isKept)), between);
    const ways = {
      kept: way(user.socket, undefined, true),
      direct: way(user.socket),
      gate: way(gateSocket(name), agent),
      haproxyTcp: tcp && way(tcp.socket, tcp.process),
      haproxyHttp: http && way(http.socket, http.process),
    };
    const all = Object.values(ways).filter((one) => one !== undefined);
    for (let round = 0; round < rounds; round++) {
      if (round === rounds / 10) for (const one of all) one.begin();
      const first = round % all.length;
      for (const one of [...all.slice(first), ...all.slice(0, first)]) await one.request();
    }
    const { kept, direct, gate, haproxyTcp, haproxyHttp } = ways;
    return {
      kept: kept.end(),
      direct: direct.end(),
      gate: gate.end(),
      haproxyTcp: haproxyTcp?.end(),
      haproxyHttp: haproxyHttp?.end(),
    };
  };
  const podman = await waysTo(PODMAN_ROUNDS);
  await user.stopService();
  await using instantly = await startInstantPodman(user.uid, user.socket);
  const instant = await waysTo(INSTANT_ROUNDS);
  await instantly[Symbol.asyncDispose]();
  rmSync(user.socket, { force: true });
  await user.startService();
  return { podman, instant };
}

/** What goes one way, and what it takes; counted from `begin` on. */
class MeasuredWay {
  readonly #api: TimedApi;
  readonly #between: MeasuredProcess | undefined;
  #durations: number[] = [];
  #cpuBefore = 0;

  constructor(api: TimedApi, between: MeasuredProcess | undefined) {
    this.#api = api;
    this.#between = between;
  }

  begin(): void {
    this.#durations = [];
    this.#cpuBefore = this.#between?.cpuSeconds() ?? 0;
  }

  async request(): Promise<void> {
    this.#durations.push(await this.#api.time('GET', REQUEST, [200]));
  }

  end(): Way {
    const seconds = this.#between && this.#between.cpuSeconds() - this.#cpuBefore;
    const cpu = seconds === undefined ? undefined : (seconds / this.#durations.length) * 1e6;
    return { ...summarize(this.#durations), cpu };
  }
}
