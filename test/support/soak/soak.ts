import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../../src/errors.ts';
import { type Environment, startEnvironment } from '../environment.ts';
import type { HostVolumeParameters } from '../nomad-under-test.ts';
import { type StandInNomad, startStandInNomad } from '../stand-in-nomad.ts';
import { until } from '../until.ts';
import { type Census, takeCensus } from './census.ts';
import { Dice } from './dice.ts';
import { LIVES, type Life, VOLUME } from './lives.ts';
import type { Surroundings } from './surroundings.ts';
import { TROUBLES } from './troubles.ts';

const CLOCK = fileURLToPath(new URL('./jumping-clock.ts', import.meta.url));
/** Allocations that live at the same time. */
const AT_ONCE = 5;
/** Where libcni keeps what it did. */
const CNI_DIR = '/var/lib/cni';
/** Longest that one lives on and that nothing goes wrong, milliseconds. */
const [LIFE_MS, QUIET_MS] = [1500, 2500];
/** An agent that is killed again and again while it starts, from its source, is away for most of half a minute. */
const COLLECTS_MS = 120_000;
/** What is left is looked at until it is what is expected, or for this long: the agent tries some things again. */
const SETTLES_MS = 90_000;
/** What is left behind is found and taken away soon. */
const CONFIG = { resync_interval: '2s', remove_ghosts_after: '1s', gate: { timeout: '10s' } };

/** How a soak is to be. */
export interface SoakOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly surroundings: Surroundings;
  /** Whether anything goes wrong. */
  readonly isTroubled: boolean;
  /** What is left where nothing goes wrong. */
  readonly expected?: Census;
}

/** What has been in a soak, and what it has left. */
export interface SoakReport {
  readonly allocations: number;
  /** Those that became something else than they do where nothing goes wrong, and why, by how often. */
  readonly failures: Readonly<Record<string, number>>;
  /** What went wrong, by how often. */
  readonly troubles: Readonly<Record<string, number>>;
  readonly census: Census;
  /** Of `status`, at the end. */
  readonly warnings: readonly string[];
}

/** Has allocations come and go for a time, and looks at what is left of them. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { seed, seconds, surroundings, isTroubled, expected } = options;
  await using stack = new AsyncDisposableStack();
  const environment = stack.use(await startSoaked(surroundings, seed));
  await environment.nomad.createHostVolume(VOLUME, ownedBy(environment, 'alice'));
  const kinds = Object.entries(LIVES).filter(([name]) => !surroundings.without?.test(name));
  const lives = kinds.map(([, life]) => life);
  const run = new Run(environment, lives, seed);
  // Each lives once before anything goes wrong: what stays for good is there from then on.
  await Promise.all(lives.map((life) => run.live(life, new Dice(seed))));
  const end = performance.now() + seconds * 1000;
  const isOver = () => performance.now() > end;
  await Promise.all([
    isTroubled ? run.trouble(isOver) : undefined,
    ...Array.from({ length: AT_ONCE }, (_, index) => run.liveOn(index, isOver)),
  ]);
  await environment.agent.waitUntilReady();
  const census = await settled(environment, expected);
  const status: { warnings: string[] } = JSON.parse((await environment.agent.command(['status', '--json'])).stdout);
  return { ...run, census, warnings: status.warnings };
}

/** The census, once it is what is expected; the last one where it does not become so. */
async function settled(environment: Environment<StandInNomad>, expected: Census | undefined): Promise<Census> {
  let census = await takeCensus(environment);
  const isQuiet = async () => {
    const former = census;
    census = await takeCensus(environment);
    const wanted = (expected ?? former).things;
    return JSON.stringify(census.things) === JSON.stringify(wanted);
  };
  await until('what is left is what is expected', isQuiet, SETTLES_MS).catch(() => undefined);
  return census;
}

class Run {
  allocations = 0;
  readonly failures: Record<string, number> = {};
  readonly troubles: Record<string, number> = {};
  readonly #environment: Environment<StandInNomad>;
  readonly #lives: readonly Life[];
  readonly #seed: number;

  constructor(environment: Environment<StandInNomad>, lives: readonly Life[], seed: number) {
    this.#environment = environment;
    this.#lives = lives;
    this.#seed = seed;
  }

  /** One allocation after the other. @param index of what goes on at the same time */
  async liveOn(index: number, isOver: () => boolean): Promise<void> {
    const dice = new Dice(this.#seed + index);
    while (!isOver()) await this.live(dice.pick(this.#lives), dice);
  }

  /** The life of one allocation, until Nomad has collected it. */
  async live(life: Life, dice: Dice): Promise<void> {
    const { nomad } = this.#environment;
    const allocation = nomad.runJob(life.job(`soaked-${this.allocations++}`));
    try {
      await allocation.waitFor(life.becomes);
      await life.meanwhile?.(allocation, nomad);
      await dice.pause(LIFE_MS);
    } catch (error) {
      count(this.failures, withoutIds(messageOf(error)));
    }
    // A client collects until it has.
    const collect = async () => {
      await allocation.gc();
      return true;
    };
    await until('it is collected', collect, COLLECTS_MS);
  }

  async trouble(isOver: () => boolean): Promise<void> {
    const dice = new Dice(this.#seed);
    while (!isOver()) {
      await dice.pause(QUIET_MS);
      const name = dice.pick(Object.keys(TROUBLES));
      count(this.troubles, name);
      await TROUBLES[name]?.(this.#environment, dice);
    }
  }
}

function startSoaked({ make, launcher = [] }: Surroundings, seed: number): Promise<Environment<StandInNomad>> {
  return startEnvironment({
    // With what libcni remembers, by which the agent has a network deleted that Nomad did not find.
    startNomad: (options) => startStandInNomad({ ...options, network: { cacheDir: CNI_DIR } }),
    // With and without what keeps its sockets.
    isManaged: seed % 2 === 0,
    config: CONFIG,
    program: { launcher, nodeOptions: [`--import=${CLOCK}`] },
    prepare: ({ directory }) => make({ dataDir: join(directory, 'nomad'), agentDir: join(directory, 'agent') }),
  });
}

function ownedBy({ sandbox }: Environment, user: string): HostVolumeParameters {
  const { uid } = sandbox.user(user);
  return { uid, gid: uid, mode: '0700' };
}

function count(counts: Record<string, number>, what: string): void {
  counts[what] = (counts[what] ?? 0) + 1;
}

function withoutIds(text: string): string {
  const failed = /Driver Failure: [^;|]*/.exec(text)?.[0] ?? text;
  return failed
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}/g, '<id>')
    .replaceAll(/\/\S*\//g, '');
}
