import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { ContainerGhosts } from '../../../src/ghosts/container-ghosts.ts';
import type { Answer } from '../../../src/model/ghost.ts';
import { Containers } from '../../../src/podman/containers.ts';
import { ALLOCATION_ID as ID } from '../../support/allocation-of.ts';

const ALLOC_DIR = '/nomad/alloc';
const MADE = [`${ALLOC_DIR}/${ID}/alloc`, `${ALLOC_DIR}/${ID}/web/local`, `${ALLOC_DIR}/${ID}/web/secrets`];

interface Container {
  readonly name: string;
  readonly state?: string;
  readonly sources?: readonly string[];
}

/** A Podman of the user who runs the test, with these containers. */
class FakePodman {
  readonly requests: string[] = [];
  readonly socket: string;
  containers: readonly Container[] = [];
  /** Answers in its place. */
  answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  readonly #server: Server;
  readonly #directory = mkdtempSync(join(tmpdir(), 'fake-podman-'));

  constructor() {
    this.socket = join(this.#directory, 'podman.sock');
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.socket, resolve));
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
    rmSync(this.#directory, { recursive: true });
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '' } = request;
    const { pathname, searchParams } = new URL(url, 'http://d');
    this.requests.push(`${method} ${pathname.replace('/v1.0.0/libpod/containers', '')}`);
    if (this.answer?.(request, response)) return;
    const [, id] = /containers\/([0-9a-f]{64})/.exec(pathname) ?? [];
    const at = this.containers.findIndex((_, index) => idOf(index) === id);
    if (method !== 'GET') response.writeHead(204).end();
    else if (id === undefined) response.end(JSON.stringify(this.#page(searchParams)));
    else response.end(JSON.stringify({ Id: id, Mounts: this.containers[at]?.sources?.map((Source) => ({ Source })) }));
  }

  /** The newest ones before another, the other way round. */
  #page(query: URLSearchParams) {
    const { before } = JSON.parse(query.get('filters') ?? '{}');
    const from = before === undefined ? 0 : this.containers.findIndex((_, index) => idOf(index) === before[0]) + 1;
    const page = this.containers.map(listed).slice(from, from + Number(query.get('limit')));
    return page.toSorted((a, b) => (a.Id < b.Id ? 1 : -1));
  }
}

/** As much as Podman says of a container: some 70 keys and values. */
const LABELS = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`label${at}`, 'x']));

function idOf(index: number): string {
  return String(index).padStart(64, '0');
}

function listed({ name, state = 'running' }: Container, index: number) {
  return {
    Id: idOf(index),
    Names: [name],
    State: state,
    Created: new Date(Date.UTC(2026, 0, 1) - index * 1000).toISOString(),
    Labels: LABELS,
    Size: null,
  };
}

describe('the containers of a user', () => {
  let podman: FakePodman;
  let answers: Map<string, Answer>;
  let running: Set<string>;
  let asked: string[];

  beforeEach(async () => {
    podman = new FakePodman();
    answers = new Map();
    running = new Set();
    asked = [];
    await podman.listen();
  });
  afterEach(() => podman.close());

  function newSource(more: { keepsExited?: boolean; signal?: AbortSignal } = {}): ContainerGhosts {
    const { uid, gid } = userInfo();
    const user = { name: 'alice', uid, gid, home: '/', socket: podman.socket };
    return new ContainerGhosts({
      user: 'alice',
      containers: new Containers(user, systemClock, more.signal ?? new AbortController().signal),
      answers: {
        isKnownToRun: (id) => running.has(id),
        of: async (id) => {
          asked.push(id);
          return answers.get(id) ?? { kind: 'gone' };
        },
      },
      hasDirectory: () => false,
      allocDir: ALLOC_DIR,
      keepsExited: more.keepsExited ?? false,
    });
  }

  test('are ghosts where the driver made them and their allocation is gone; a running one is stopped before it is removed', async () => {
    podman.containers = [{ name: `web-${ID}`, sources: MADE }];
    const [ghost, ...others] = await newSource().look();
    expect(others).toEqual([]);
    expect(ghost).toMatchObject({ key: idOf(0), allocationId: ID, user: 'alice', name: `web-${ID}`, state: 'running' });
    podman.requests.length = 0;
    await ghost?.remove();
    expect(podman.requests).toEqual([`POST /${idOf(0)}/stop`, `DELETE /${idOf(0)}`]);
  });

  test('that never ran, or have ended, are only removed', async () => {
    podman.containers = ['created', 'exited'].map((state) => ({ name: `web-${ID}`, state, sources: MADE }));
    const ghosts = await newSource().look();
    podman.requests.length = 0;
    for (const ghost of ghosts) await ghost.remove();
    expect(podman.requests.toSorted()).toEqual([`DELETE /${idOf(0)}`, `DELETE /${idOf(1)}`]);
  });

  test('that the user made by hand, under whatever name, are left, and Nomad is not even asked', async () => {
    const byHand = [undefined, ['/srv'], MADE.slice(0, 1), MADE.map((path) => path.replace('/nomad/', '/other/'))];
    podman.containers = [
      { name: 'mine' },
      ...byHand.map((sources) => ({ name: `web-${ID}`, ...(sources ? { sources } : {}) })),
    ];
    expect(await newSource().look()).toEqual([]);
    expect(asked).toEqual([]);
  });

  test('are found among however many that run', async () => {
    const other = ID.replace(/./g, (digit) => (digit === '-' ? '-' : '1'));
    running.add(other);
    const runs = Array.from({ length: 999 }, () => ({ name: `web-${other}`, sources: MADE }));
    podman.containers = [...runs, { name: `web-${ID}`, sources: MADE }];
    expect((await newSource().look()).map(({ key }) => key)).toEqual([idOf(999)]);
  });

  test('of a Podman that says the same of every page are looked for only so often', async () => {
    const page = Array.from({ length: 100 }, (_, index) => listed({ name: 'mine' }, index));
    podman.answer = (_, response) => response.end(JSON.stringify(page)) !== undefined;
    expect(await newSource().look()).toEqual([]);
    expect(podman.requests).toHaveLength(100);
  });

  test('are looked into once, however often they are listed', async () => {
    podman.containers = [{ name: `web-${ID}`, sources: MADE }];
    const source = newSource();
    await source.look();
    await source.look();
    expect(podman.requests.filter((request) => request.startsWith(`GET /${idOf(0)}/`))).toHaveLength(1);
  });

  test('of which Nomad says nothing are left', async () => {
    answers.set(ID, { kind: 'unanswered', why: 'no leader' });
    podman.containers = [{ name: `web-${ID}`, sources: MADE }];
    expect(await newSource().look()).toEqual([]);
    expect(asked).toEqual([ID]);
  });

  test('of allocations that run are not looked into', async () => {
    running.add(ID);
    podman.containers = [{ name: `web-${ID}`, sources: MADE }];
    expect(await newSource().look()).toEqual([]);
    expect([asked, podman.requests]).toEqual([[], ['GET /json']]);
  });

  test('that have ended are not looked into where the driver keeps them', async () => {
    podman.containers = ['exited', 'running'].map((state) => ({ name: `web-${ID}`, state, sources: MADE }));
    expect(await newSource({ keepsExited: true }).look()).toMatchObject([{ state: 'running' }]);
  });

  test('are not asked for without end where a user imitates thousands', async () => {
    const ids = Array.from({ length: 300 }, (_, index) => ID.replace('11111111', String(index).padStart(8, '0')));
    podman.containers = ids.map((id) => ({ name: `web-${id}`, sources: MADE.map((path) => path.replace(ID, id)) }));
    await newSource().look();
    expect(asked.length).toBe(100);
  });

  test.each([
    ['garbage', 'garbage'],
    ['something else', '{"Id":1}'],
    ['an id that leads elsewhere', JSON.stringify([{ Id: '../../images/x', Names: [`web-${ID}`] }])],
    ['more than is read', `[${' '.repeat(5 * 2 ** 20)}]`],
  ])('of a Podman that answers %s are not believed', async (_, body) => {
    podman.answer = (_, response) => {
      response.end(body);
      return true;
    };
    await expect(newSource().look()).rejects.toMatchObject({ code: 'parse_error' });
  });

  test('are not looked into without end in one look, and the next one goes on', async () => {
    podman.containers = Array.from({ length: 150 }, (_, index) => ({
      name: `web-${ID}`,
      sources: index === 149 ? MADE : [],
    }));
    const source = newSource();
    expect(await source.look()).toEqual([]);
    expect(podman.requests.filter((request) => /^GET .*[0-9a-f]{64}/.test(request))).toHaveLength(100);
    expect(await source.look()).toMatchObject([{ key: idOf(149) }]);
  });

  test('that Podman cannot remove say why', async () => {
    podman.containers = [{ name: `web-${ID}`, state: 'exited', sources: MADE }];
    const [ghost] = await newSource().look();
    podman.answer = ({ method }, response) => {
      if (method === 'DELETE') response.writeHead(500).end('{"cause":"device or resource busy"}');
      return method === 'DELETE';
    };
    await expect(ghost?.remove()).rejects.toMatchObject({
      code: 'podman_error',
      message: expect.stringContaining('device or resource busy'),
    });
  });

  test('of a Podman that never answers are given up with the agent', async () => {
    podman.answer = () => true;
    const stopping = new AbortController();
    const looking = newSource({ signal: stopping.signal }).look();
    stopping.abort(new Error('stopping'));
    await expect(looking).rejects.toThrow(/stopping/);
  });
});
