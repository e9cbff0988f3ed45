import { PodmanApi } from '../support/nomad/podman-api.ts';

/** A podman socket called as the driver does it, one call after the other on a kept connection, with the time of each. */
export class TimedApi implements Disposable {
  readonly #api: PodmanApi;

  constructor(socketPath: string) {
    this.#api = new PodmanApi(socketPath);
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
