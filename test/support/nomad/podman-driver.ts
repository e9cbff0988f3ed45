import { until } from '../until.ts';
import type { TaskDir } from './alloc-dir.ts';
import { createBody, type TaskConfig } from './container-create.ts';
import { type ExecResult, PodmanApi } from './podman-api.ts';
import { PullGroup } from './pull-group.ts';

/** How the driver is configured. */
export interface DriverOptions {
  /** Name of each socket block to the path of its socket. */
  readonly sockets: Readonly<Record<string, string>>;
  /** From 0.6.5 on the driver gives log FIFOs to the owner of the socket file. */
  readonly givesFifos: boolean;
  /** Milliseconds between two stats calls for a container; the driver's own is a second. */
  readonly statsIntervalMs: number;
}

/** A running container. */
export interface Container {
  readonly api: PodmanApi;
  readonly id: string;
}

/** Does to the podman sockets what nomad-driver-podman 0.6.5 does, request for request (fixtures: requests.txt). */
export class PodmanDriver {
  readonly #options: DriverOptions;
  readonly #apis = new Map<string, PodmanApi>();
  /** The API version that each socket's info told, as the driver asks once. */
  readonly #versions = new Map<PodmanApi, string>();
  readonly #pulls = new PullGroup();
  /** Awaited before the first request for a task: a driver that is slow. */
  begin: (allocationId: string) => Promise<unknown> = () => Promise.resolve();

  constructor(options: DriverOptions) {
    this.#options = options;
  }

  /**
   * Creates and starts the task's container.
   * @param tell takes what the job author is to see on the way
   * @throws Error in the driver's words
   */
  async start(config: TaskConfig, taskDir: TaskDir, tell: (message: string) => void): Promise<Container> {
    await this.begin(config.allocationId);
    const api = this.#api(config.task.socket);
    const version = await this.#fingerprint(api);
    const name = `${config.task.name}-${config.allocationId}`;
    await this.#removeOld(api, name);
    const image = await this.#imageId(api, config.task, tell);
    const created = await api.call(
      'POST',
      '/v1.0.0/libpod/containers/create',
      createBody(config, taskDir, image, version),
    );
    if (created.status !== 201) {
      const reason = `cannot create container, status code: ${created.status}: ${created.body}`;
      throw new Error(`failed to start task, could not create container: ${reason}`);
    }
    const { Id: id }: { Id: string } = JSON.parse(created.body);
    try {
      if (this.#options.givesFifos) {
        for (const fifo of [config.stdout, config.stderr]) fifo.giveToOwnerOf(api.socketPath);
      }
      await this.#startCreated(api, id);
    } catch (error) {
      await this.remove({ api, id });
      throw error;
    }
    return { api, id };
  }

  /** Asks for stats until the container is gone or has ended. @returns its exit code */
  async wait(container: Container): Promise<number> {
    while (await this.#isRunning(container)) {
      await new Promise((resolve) => setTimeout(resolve, this.#options.statsIntervalMs));
    }
    const { api, id } = container;
    const inspected = await api.call('GET', `/v1.0.0/libpod/containers/${id}/json`);
    if (inspected.status !== 200) throw new Error(`Driver was unable to get the exit code. ${id}: ${inspected.body}`);
    const { State }: { State: { ExitCode: number } } = JSON.parse(inspected.body);
    return State.ExitCode;
  }

  async stop({ api, id }: Container, killTimeoutSeconds: number): Promise<void> {
    const path = `/v1.0.0/libpod/containers/${id}/stop?timeout=${killTimeoutSeconds}&ignore=true`;
    const { status } = await api.call('POST', path);
    if (![204, 304, 404].includes(status)) throw new Error(`cannot stop container, status code: ${status}`);
  }

  async remove({ api, id }: Container): Promise<void> {
    const { status } = await api.call('DELETE', `/v1.0.0/libpod/containers/${id}?force=true&volumes=true`);
    if (![200, 204, 404].includes(status)) throw new Error(`cannot delete container, status code: ${status}`);
  }

  exec({ api, id }: Container, command: readonly string[], stdin: string): Promise<ExecResult> {
    return api.exec(id, command, stdin);
  }

  /** As its fingerprint says it (driver.go, buildFingerprint): one socket that does not answer is everybody's. */
  async health(): Promise<string> {
    const unhealthy: string[] = [];
    for (const name of Object.keys(this.#options.sockets).sort()) {
      const api = this.#api(name);
      const answers = await Promise.all(
        ['/libpod/_ping', '/v1.0.0/libpod/info'].map((path) => api.call('GET', path).catch(() => undefined)),
      );
      if (answers.some((answer) => answer?.status !== 200)) unhealthy.push(name);
    }
    if (unhealthy.length === 0) return 'All Podman sockets are responding.';
    return `Cannot fingerprint certain podman sockets: ${unhealthy.join(', ')}`;
  }

  /** Every request so far to a socket, method and path, in order. */
  requestsTo(socket: string): readonly string[] {
    return this.#apis.get(socket)?.requests ?? [];
  }

  close(): void {
    for (const api of this.#apis.values()) api.close();
  }

  /** What is no answer, a gate that is down for instance, says nothing: the driver asks again. */
  async #isRunning({ api, id }: Container): Promise<boolean> {
    const answer = await api.call('GET', `/v1.0.0/libpod/containers/${id}/stats?stream=false`).catch(() => undefined);
    if (!answer) return true;
    const { status, body } = answer;
    return !(status === 404 || status === 409 || (status === 200 && (body === '' || isStopped(body))));
  }

  #api(socket = 'default'): PodmanApi {
    const path = this.#options.sockets[socket];
    if (path === undefined)
      throw new Error(`podman client with name "${socket}" was not found, check your podman driver config`);
    const known = this.#apis.get(socket) ?? new PodmanApi(path);
    this.#apis.set(socket, known);
    return known;
  }

  /**
   * The real driver does this at its own start and every 30 s, and no task is placed before it has gone well; here it is done
   * before a socket's first task.
   */
  async #fingerprint(api: PodmanApi): Promise<string> {
    const known = this.#versions.get(api) ?? (await until('the socket answers', () => askVersion(api)));
    this.#versions.set(api, known);
    return known;
  }

  async #removeOld(api: PodmanApi, name: string): Promise<void> {
    const { status, body } = await api.call('GET', `/v1.0.0/libpod/containers/${name}/json`);
    if (status === 404) return;
    if (status !== 200) {
      throw new Error(`failed to inspect container: ${name}: cannot inspect container, status code: ${status}`);
    }
    const { Id: id }: { Id: string } = JSON.parse(body);
    await this.remove({ api, id });
  }

  async #imageId(api: PodmanApi, task: TaskConfig['task'], tell: (message: string) => void): Promise<string> {
    const { image = '', tlsVerify = true } = task;
    const { status, body } = await api.call('GET', `/v1.0.0/libpod/images/${image}/json`);
    if (status === 200) {
      const { Id: id }: { Id: string } = JSON.parse(body);
      return id;
    }
    tell(`Pulling image ${image}`);
    return await this.#pulls.pull(api, image, tlsVerify);
  }

  async #startCreated(api: PodmanApi, id: string): Promise<void> {
    const started = await api.call('POST', `/v1.0.0/libpod/containers/${id}/start`);
    if (started.status !== 204) {
      const reason = `cannot start container, status code: ${started.status}: ${started.body}`;
      throw new Error(`failed to start task, could not start container: ${reason}`);
    }
    const conditions = 'condition=running&condition=exited';
    const waited = await api.call('POST', `/v1.0.0/libpod/containers/${id}/wait?${conditions}`);
    if (waited.status !== 200) throw new Error(`cannot wait for container, status code: ${waited.status}`);
    const inspected = await api.call('GET', `/v1.0.0/libpod/containers/${id}/json`);
    if (inspected.status !== 200) {
      throw new Error(`failed to start task, could not inspect container : status code: ${inspected.status}`);
    }
  }
}

/** Podman from 4.6 on answers 200 with this error for a container that has ended. */
function isStopped(body: string): boolean {
  const parsed: { cause?: string } = JSON.parse(body);
  return parsed.cause === 'container is stopped';
}

async function askVersion(api: PodmanApi): Promise<string> {
  const ping = await api.call('GET', '/libpod/_ping');
  if (ping.status !== 200) throw new Error(`podman api is not available, status code: ${ping.status}`);
  const { status, body } = await api.call('GET', '/v1.0.0/libpod/info');
  if (status !== 200) throw new Error(`cannot get podman info, status code: ${status}: ${body}`);
  const { version }: { version: { APIVersion: string } } = JSON.parse(body);
  return version.APIVersion;
}
