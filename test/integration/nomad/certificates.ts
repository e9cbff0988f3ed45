import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout'];
/** The name that Nomad's own certificates carry for the servers of a region. */
export const SERVER_NAME = 'server.global.nomad';

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority with its files in a directory; each has a key of its own. */
export class CertificateAuthority {
  readonly #dir: string;
  readonly #name: string;

  private constructor(dir: string, name: string) {
    this.#dir = dir;
    this.#name = name;
  }

  static async make(dir: string, name: string): Promise<CertificateAuthority> {
    const made = new CertificateAuthority(dir, name);
    const out = ['-subj', `/CN=${name}`, '-days', '2', '-out', made.#path(name, 'pem')];
    await run('openssl', ['req', '-x509', ...NEW_KEY, made.#path(name, 'key'), ...out]);
    return made;
  }

  /** Its certificate. */
  get pem(): Promise<string> {
    return readFile(this.#path(this.#name, 'pem'), 'utf8');
  }

  /** For a server whose name is SERVER_NAME. */
  server(): Promise<Certificate> {
    return this.#issue('server', `subjectAltName=DNS:${SERVER_NAME}\n`);
  }

  /** For a client. @param name as the server sees it */
  client(name: string): Promise<Certificate> {
    return this.#issue(name, 'extendedKeyUsage=clientAuth\n');
  }

  async #issue(subject: string, extension: string): Promise<Certificate> {
    const name = `${this.#name}-${subject}`;
    const path = (end: string) => this.#path(name, end);
    await writeFile(path('ext'), extension);
    await run('openssl', ['req', ...NEW_KEY, path('key'), '-subj', `/CN=${subject}`, '-out', path('csr')]);
    const signer = ['-CA', this.#path(this.#name, 'pem'), '-CAkey', this.#path(this.#name, 'key'), '-CAcreateserial'];
    const request = ['-req', '-in', path('csr'), '-days', '2', '-extfile', path('ext'), '-out', path('pem')];
    await run('openssl', ['x509', ...request, ...signer]);
    return { cert: await readFile(path('pem'), 'utf8'), key: await readFile(path('key'), 'utf8') };
  }

  #path(name: string, end: string): string {
    return join(this.#dir, `${name}.${end}`);
  }
}
