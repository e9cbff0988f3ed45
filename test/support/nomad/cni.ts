import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { runCommand } from '../command.ts';
import type { CniCache } from './cni-cache.ts';

/** A chain of plugins as a `.conflist` file has it. Source: the CNI specification, section 1, network configuration format. */
export interface Conflist {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly PluginConfig[];
}

interface PluginConfig {
  readonly type: string;
  readonly capabilities?: { readonly portMappings?: boolean };
  readonly [key: string]: unknown;
}

/** A port of the host that leads into the container: the capability portMappings. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'tcp' | 'udp';
}

/** What is attached to a network. */
export interface Attachment {
  readonly containerId: string;
  /** Path of its network namespace. */
  readonly netns: string;
  readonly portMappings: readonly PortMapping[];
  /** CNI_ARGS. */
  readonly args: Readonly<Record<string, string>>;
}

/** What a plugin answers to ADD, handed on to the next as it is: the specification's section 5. */
export type CniResult = z.infer<typeof CniResult>;
const CniResult = z.looseObject({
  interfaces: z.array(z.looseObject({ name: z.string(), sandbox: z.string().optional() })).optional(),
  ips: z.array(z.looseObject({ address: z.string(), interface: z.number().optional() })).optional(),
});

const CniError = z.object({ msg: z.string(), details: z.string().default('') });

/** The name that Nomad gives the first interface of a container. */
const INTERFACE = 'eth0';

/** One network of CNI plugins: speaks the protocol to them as Nomad's libcni does, with the result of ADD kept for CHECK and DEL. */
export class CniNetwork {
  readonly #conflist: Conflist;
  readonly #pluginDir: string;
  readonly #cache: CniCache | undefined;
  readonly #results = new Map<string, CniResult>();

  /** @param cache none unless told: results are kept in memory */
  constructor(conflist: Conflist, pluginDir: string, cache?: CniCache) {
    this.#cache = cache;
    this.#conflist = conflist;
    this.#pluginDir = pluginDir;
  }

  /** @returns the last plugin's result @throws Error with what the plugin that failed says */
  async add(attachment: Attachment): Promise<CniResult> {
    let result: CniResult = {};
    for (const plugin of this.#conflist.plugins) {
      const answer = await this.#run('ADD', plugin, attachment, result);
      result = CniResult.parse(JSON.parse(answer));
    }
    this.#results.set(attachment.containerId, result);
    this.#cache?.add(this.#conflist, attachment, INTERFACE, result);
    return result;
  }

  /** @throws Error with what the plugin says that finds the network other than it has made it */
  async check(attachment: Attachment): Promise<void> {
    const result = this.#results.get(attachment.containerId);
    if (!result) throw new Error(`network ${this.#conflist.name} has no result for ${attachment.containerId}`);
    for (const plugin of this.#conflist.plugins) await this.#run('CHECK', plugin, attachment, result);
  }

  /** From the last plugin to the first, after an ADD that failed too. @throws Error with what the plugin that failed says */
  async del(attachment: Attachment): Promise<void> {
    const result = this.#results.get(attachment.containerId) ?? {};
    // Nomad gives no CNI_ARGS here.
    for (const plugin of this.#conflist.plugins.toReversed()) {
      await this.#run('DEL', plugin, { ...attachment, args: {} }, result);
    }
    this.#results.delete(attachment.containerId);
    this.#cache?.remove(this.#conflist, attachment, INTERFACE);
  }

  async #run(command: string, plugin: PluginConfig, attachment: Attachment, previous: CniResult): Promise<string> {
    const { cniVersion, name } = this.#conflist;
    const { portMappings } = attachment;
    const program = join(this.#pluginDir, plugin.type);
    if (!existsSync(program)) throw new Error(`failed to find plugin "${plugin.type}" in path [${this.#pluginDir}]`);
    const { code, stdout, stderr } = await runCommand([program], {
      env: {
        PATH: process.env.PATH ?? '',
        CNI_COMMAND: command,
        CNI_CONTAINERID: attachment.containerId,
        CNI_NETNS: attachment.netns,
        CNI_IFNAME: INTERFACE,
        CNI_PATH: this.#pluginDir,
        CNI_ARGS: Object.entries(attachment.args)
          .map(([key, value]) => `${key}=${value}`)
          .join(';'),
      },
      input: JSON.stringify({
        ...plugin,
        cniVersion,
        name,
        ...(Object.keys(previous).length === 0 ? {} : { prevResult: previous }),
        ...(plugin.capabilities?.portMappings ? { runtimeConfig: { portMappings } } : {}),
      }),
    });
    if (code === 0) return stdout;
    throw new Error(`plugin type="${plugin.type}" failed (${command.toLowerCase()}): ${reason(stdout, stderr)}`);
  }
}

/** A plugin tells of an error in JSON on standard output; one that crashes does not. */
function reason(stdout: string, stderr: string): string {
  try {
    const { msg, details } = CniError.parse(JSON.parse(stdout));
    return details === '' ? msg : `${msg}; ${details}`;
  } catch {
    return `${stdout}${stderr}`.trim();
  }
}
