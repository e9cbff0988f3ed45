/** Asks Nomad's HTTP API as an operator does. */
export class Api {
  readonly address: string;
  /** Secret ID of an ACL token; empty where ACLs are off. */
  token = '';

  constructor(address: string) {
    this.address = address;
  }

  /** What Nomad's own command line needs to ask the same. */
  get environment(): Record<string, string> {
    return { PATH: process.env.PATH ?? '', NOMAD_ADDR: this.address, NOMAD_TOKEN: this.token };
  }

  /**
   * The answer's JSON, as the caller says it is shaped.
   * @throws Error with Nomad's text on any status but 200
   */
  async json<T>(method: 'GET' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T> {
    return JSON.parse(await this.text(method, path, body));
  }

  /** The answer's text. @throws Error with Nomad's text on any status but 200 */
  async text(method: 'GET' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<string> {
    const response = await fetch(`${this.address}${path}`, {
      method,
      headers: this.token === '' ? {} : { 'X-Nomad-Token': this.token },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status}: ${text.trim()}`);
    return text;
  }
}
