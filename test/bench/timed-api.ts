import { PodmanApi } from '../support/nomad/podman-api.ts';

/** A podman socket called as the driver does it, one call after the other, with the time of each. */
export class TimedApi implements Disposable {
  readonly #api: PodmanApi;

  /** @param keepsConnections whether a call takes the connection of the one before, where the other side keeps it; true unless told */
  constructor(socketPath: string, keepsConnections = true) {
    this.#api = new PodmanApi(socketPath, keepsConnections);
  }

  /**
   * @returns milliseconds from the call to the end of the response
   * @throws Error where the status is not one of the expected ones, so that nothing else is measured by mistake
   */
  async time(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    expected: readonly number[],
    body?: object,
  ): Promise<number> {
    const started = performance.now();
    const response = await this.#api.call(method, path, body);
    const milliseconds = performance.now() - started;
    if (!expected.includes(response.status)) {
      throw new Error(`${method} ${path}: expected ${expected.join(' or ')}, got ${response.status}: ${response.body}`);
    }
    return milliseconds;
  }

  [Symbol.dispose](): void {
    this.#api.close();
  }
}
