import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { HostDirectories } from '../../src/gate/create-target.ts';
import { Gate, type GateParts } from '../../src/gate/gate.ts';
import { Holds } from '../../src/gate/holds.ts';
import { Images } from '../../src/gate/images.ts';
import type { Readiness, ReadyAnswer, ReadyRequest } from '../../src/gate/readiness.ts';
import { makeSocketDirectory } from '../../src/linux/socket-file.ts';
import { listenAt } from '../../src/linux/unix-listener.ts';
import type { Log } from '../../src/log.ts';
import { createMetrics, type GateVerdict } from '../../src/metrics.ts';
import { LastAnswers } from '../../src/podman/last-answers.ts';
import { UserPodman } from '../../src/podman/user-podman.ts';

export const ID = '3446d5e1-6ff3-0022-b7ba-b606572ea818';
export const DIRECTORIES: HostDirectories = {
  dataDir: '/var/lib/nomad',
  allocDir: '/var/lib/nomad/alloc',
  canonicalAllocDir: '/var/lib/nomad/alloc',
  clientDirs: ['/var/lib/nomad/client', '/var/lib/nomad/host_volumes'],
  guarded: [
    '/var/lib/nomad',
    '/run/nomad-rootless/gate',
    '/run/nomad-rootless/state',
    '/run/nomad-rootless/admin.sock',
  ],
};
export const OWN_UID = process.getuid?.() ?? -1;

/** A readiness whose answers the test gives. */
export class ManualReadiness implements Readiness {
  readonly prepared: string[] = [];
  readonly asked: ReadyRequest[] = [];
  /** What `ready` does; by default an allocation is ready at once. */
  answer: (request: ReadyRequest, signal: AbortSignal) => Promise<void> = async () => undefined;

  prepare(allocationId: string): void {
    this.prepared.push(allocationId);
  }

  /** What `permitted` does; by default every task may run. */
  decide: (start: Parameters<Readiness['permitted']>[0], signal: AbortSignal) => Promise<void> = async () => undefined;

  permitted(start: Parameters<Readiness['permitted']>[0], signal: AbortSignal): Promise<void> {
    return this.decide(start, signal);
  }

  /** What `whenIdle` does; by default nothing is being done to anything. */
  idle: (allocationId: string) => Promise<void> = async () => undefined;

  whenIdle(allocationId: string): Promise<void> {
    return this.idle(allocationId);
  }

  /** What the policy lets every task do. */
  grants: ReadyAnswer = { mayNameAllPaths: false };

  async ready(request: ReadyRequest, signal: AbortSignal): Promise<ReadyAnswer> {
    this.asked.push(request);
    await this.answer(request, signal);
    return this.grants;
  }

  /** Holds every create until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.answer = (_, signal) =>
      new Promise((done, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        void promise.then(done);
      });
    return resolve;
  }
}

/** A gate of the user who runs the test, before a Podman that the test provides. */
export class GateBench implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'gate-'));
  readonly podmanPath = join(this.dir, 'podman.sock');
  readonly path = join(this.dir, 'gates', 'alice.sock');
  readonly readiness = new ManualReadiness();
  readonly metrics = createMetrics('0.0.0');
  readonly lines: { fields: Record<string, unknown>; message: string }[] = [];
  readonly answers: LastAnswers;
  readonly podman: UserPodman;
  readonly holds = new Holds(systemClock);
  readonly images = new Images(systemClock);
  /** What was turned away. */
  readonly refusals: Parameters<GateParts['onRefusal']>[0][] = [];
  readonly gate: Gate;
  readonly #closing: (() => void)[] = [];

  constructor(changes: Partial<GateParts> = {}) {
    const write = (fields: object, message: string) => void this.lines.push({ fields: { ...fields }, message });
    const log: Log = { debug: write, info: write, warn: write, error: write, child: () => log };
    this.answers = new LastAnswers(join(this.dir, 'state'), { clock: systemClock, log });
    this.podman = new UserPodman('alice', { clock: systemClock, log, metrics: this.metrics, answers: this.answers });
    this.podman.setUser({
      name: 'alice',
      uid: OWN_UID,
      gid: process.getgid?.() ?? -1,
      home: '/nonexistent',
      socket: this.podmanPath,
    });
    this.gate = new Gate({
      podman: this.podman,
      holds: this.holds,
      images: this.images,
      directories: async () => DIRECTORIES,
      readiness: this.readiness,
      timeoutMs: 30_000,
      requiredPeerUid: OWN_UID,
      clock: systemClock,
      log,
      metrics: this.metrics,
      onRefusal: (refusal) => void this.refusals.push(refusal),
      ...changes,
    });
  }

  /** Opens the gate at a socket that listens already. */
  async open(): Promise<void> {
    makeSocketDirectory(join(this.dir, 'gates'));
    await this.gate.open(listenAt(this.path, { uid: OWN_UID, gid: process.getgid?.() ?? -1, mode: 0o600 }));
  }

  /** Has a server listen where the user's Podman would. */
  async podmanOn(server: Server): Promise<void> {
    const sockets = new Set<Socket>();
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    });
    this.#closing.push(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(this.podmanPath, resolve));
  }

  /** Has each connection to the user's Podman handled as raw bytes. */
  rawPodman(handle: (peer: Peer) => void): Promise<void> {
    return this.podmanOn(createServer({ allowHalfOpen: true }, (socket) => handle(new Peer(socket))));
  }

  /** A client at the gate that speaks raw bytes. */
  client(path = this.path): Peer {
    const socket = connect({ path, allowHalfOpen: true });
    this.#closing.push(() => socket.destroy());
    return new Peer(socket);
  }

  async verdicts(): Promise<Partial<Record<GateVerdict, number>>> {
    const { values } = await this.metrics.gateRequests.get();
    return Object.fromEntries(
      values.filter(({ value }) => value > 0).map(({ labels, value }) => [labels.verdict, value]),
    );
  }

  async held(): Promise<number | undefined> {
    return (await this.metrics.gateHeld.get()).values[0]?.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closing) close();
    this.gate.stopAccepting();
    this.gate.cut();
    rmSync(this.dir, { recursive: true });
  }
}

/** An open gate whose Podman answers nothing by itself: its connections, in order. */
export async function startSilent() {
  const bench = new GateBench();
  const peers: Peer[] = [];
  await bench.rawPodman((peer) => void peers.push(peer));
  await bench.open();
  return { bench, peers };
}

/** One end of a connection; collects what comes. */
export class Peer {
  readonly socket: Socket;
  received: Buffer = Buffer.alloc(0);
  hasEnded = false;
  hasClosed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
    });
    socket.on('end', () => {
      this.hasEnded = true;
    });
    socket.on('close', () => {
      this.hasClosed = true;
    });
    socket.on('error', () => socket.destroy());
  }

  get text(): string {
    return this.received.toString('latin1');
  }

  write(data: string | Uint8Array): this {
    this.socket.write(data);
    return this;
  }

  /** Resolves once what came contains this text. */
  async sees(part: string): Promise<void> {
    await vi.waitFor(() => {
      if (!this.text.includes(part)) throw new Error(`expected ${part}, got ${this.text.slice(0, 500)}`);
    }, WAIT);
  }

  /** Resolves once the other side has sent its end. */
  async seesEnd(): Promise<void> {
    await vi.waitFor(() => {
      if (!this.hasEnded && !this.hasClosed) throw new Error(`no end, only ${this.text.slice(0, 500)}`);
    }, WAIT);
  }

  /** Takes what has come so far. */
  take(): string {
    const { text } = this;
    this.received = Buffer.alloc(0);
    return text;
  }
}

/** The bound of every wait for a condition. */
export const WAIT = { timeout: 4000, interval: 5 };

/** A create as the driver writes it, for this allocation. */
export function createRequest(id = ID, path = '/v1.0.0/libpod/containers/create'): string {
  const body = JSON.stringify({
    name: `t-${id}`,
    env: { SECRET: 'hunter2' },
    mounts: [{ type: 'bind', source: `/var/lib/nomad/alloc/${id}/alloc`, destination: '/alloc' }],
  });
  return post(path, body);
}

/** A create of the image that has this id. */
export function withImage(id: string): string {
  const body = JSON.stringify({
    name: `t-${ID}`,
    image: id,
    mounts: [{ type: 'bind', source: `/var/lib/nomad/alloc/${ID}/alloc`, destination: '/alloc' }],
  });
  return post('/v1.0.0/libpod/containers/create', body);
}

/** A request as it reaches Podman. */
export function asPassed(request: string): string {
  return request.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');
}

export function post(path: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nHost: u\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

export function ok(body: string, status = '200 OK'): string {
  return `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
