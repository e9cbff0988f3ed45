import { join } from 'node:path';
import * as z from 'zod';
import { ParseError } from '../../errors.ts';
import { entriesOf, makeDirectories } from '../../linux/directory.ts';
import { type Handle, openAbsolute, openAbsoluteIfThere, openMountedBeneath } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { attach, cloneTree, unmountAt } from '../../linux/mount.ts';
import { decodeAttributes, encodeAttributes } from '../../linux/net/netlink-message.ts';
import { isNetworkNamespace } from '../../linux/net/network-namespace.ts';
import { type NetlinkObject, OBJECT } from '../../linux/net/rtnetlink.ts';
import { readTextIfThere } from '../../linux/read-file.ts';
import { makeMountPoint, removeFile, writeTextWhole } from '../../linux/write-file.ts';
import { isAllocationId } from '../../model/allocation.ts';
import type { CniCacheFile } from './cni-cache.ts';
import type { Network } from './network.ts';
import type { ObjectKind } from './normal-form.ts';

/** A migration that was begun and not ended. */
export interface Migration {
  readonly network: Network;
  /** The network namespaces, as nameOfNamespace has them: the one that Nomad made, and the user's. */
  readonly formerName: string;
  readonly name: string;
  /** What libcni remembered of the network: it forgets that when Nomad takes the network down. */
  readonly attachments: readonly CniCacheFile[];
}

const MOST_BYTES = 64 * 1024 * 1024;
const bytes = z.base64().transform((text) => Buffer.from(text, 'base64'));
const attributes = bytes.transform(decodeAttributes);
const objects = (kind: ObjectKind) =>
  z.array(
    bytes.transform(
      (payload): NetlinkObject => ({
        header: payload.subarray(0, OBJECT[kind].headerSize),
        attributes: decodeAttributes(payload.subarray(OBJECT[kind].headerSize)),
      }),
    ),
  );
const link = z.object({
  index: z.number(),
  name: z.string(),
  altNames: z.array(z.string()),
  kind: z.string(),
  flags: z.number(),
  mtu: z.number(),
  address: z.string(),
  txQueueLength: z.number(),
  group: z.number(),
  alias: z.string(),
  master: z.number().optional(),
  hasXdpProgram: z.boolean(),
  hasToken: z.boolean(),
  // Versions before this one wrote another form of it, or none.
  configuration: z.object({ ipv4: z.string(), ipv6: z.string() }).catch({ ipv4: '', ipv6: '' }),
});
const nftTypes = ['table', 'set', 'object', 'chain', 'element', 'rule', 'flowtable'] as const;
const migration = z.object({
  formerName: z.string(),
  name: z.string(),
  attachments: z.array(z.object({ file: z.string(), text: z.string() })).default([]),
  network: z.object({
    links: z.array(link.transform((one) => ({ ...one, master: one.master }))),
    objects: z.object({
      address: objects('address'),
      route: objects('route'),
      rule: objects('rule'),
      neighbour: objects('neighbour'),
    }),
    ruleset: z.array(z.object({ type: z.enum(nftTypes), family: z.number(), attributes })),
    xTables: z.array(
      z.object({ family: z.number(), name: z.string(), hooks: bytes, count: z.number(), entries: bytes }),
    ),
    sysctls: z.record(z.string(), z.string()),
  }),
});

/**
 * Migrations under way, so that the next start finishes what a crash interrupts: `<state_dir>/netns/<id>` holds the new
 * network namespace, `<id>.json` beside it says what the network was before its first link was moved. There is nothing
 * here of an allocation whose network is settled. All of it lies in /run: a reboot takes it away together with the
 * namespaces.
 */
export class MigrationJournal {
  readonly #path: string;

  constructor(stateDir: string) {
    this.#path = join(stateDir, 'netns');
  }

  /** The allocations with something here. */
  ids(): string[] {
    using directory = openAbsoluteIfThere(this.#path, O.RDONLY | O.DIRECTORY);
    const names = directory ? entriesOf(directory).map((name) => name.replace(/\.json(\.new)?$/, '')) : [];
    return [...new Set(names)].filter(isAllocationId);
  }

  /** Writes down a migration before anything is moved. @param network as it is to be; @throws SyscallError, an Error of node:fs */
  begin(id: string, netns: Handle, record: Migration, reached: (point: 'pinned') => void): void {
    makeDirectories(this.#path, 0o700);
    makeMountPoint(this.pathOf(id));
    using file = openAbsolute(this.pathOf(id), O.PATH | O.NOFOLLOW);
    using tree = cloneTree(netns);
    attach(tree, file);
    reached('pinned');
    writeTextWhole(join(this.#path, `${id}.json`), JSON.stringify(toJson(record)));
  }

  /** The migration of an allocation that was begun; undefined where there is none. @throws ParseError */
  record(id: string): Migration | undefined {
    const path = join(this.#path, `${id}.json`);
    const text = readTextIfThere(path, MOST_BYTES);
    if (text === undefined) return undefined;
    const parsed = migration.safeParse(JSON.parse(text));
    if (!parsed.success) throw new ParseError(path, 'a migration of a network namespace', parsed.error.message);
    return parsed.data;
  }

  /** Where the network namespace that is kept for an allocation is mounted. */
  pathOf(id: string): string {
    return join(this.#path, id);
  }

  /** The network namespace that is kept for an allocation; undefined where there is none. */
  open(id: string): Handle | undefined {
    using directory = openAbsoluteIfThere(this.#path);
    const netns = directory && openMountedBeneath(directory, id, O.RDONLY | O.NOFOLLOW);
    if (!netns || isNetworkNamespace(netns)) return netns;
    netns.close();
    return undefined;
  }

  /** Strikes a migration out: it is done, or there is nothing to be done any more. First what says that there is one. */
  end(id: string): void {
    removeFile(join(this.#path, `${id}.json`));
    removeFile(join(this.#path, `${id}.json.new`));
    unmountAt(this.pathOf(id));
    removeFile(this.pathOf(id));
  }
}

function toJson({ network, ...names }: Migration): object {
  const payloads = (list: readonly NetlinkObject[]) =>
    list.map(({ header, attributes: all }) => Buffer.concat([header, encodeAttributes(all)]).toString('base64'));
  return {
    ...names,
    network: {
      ...network,
      objects: Object.fromEntries(Object.entries(network.objects).map(([kind, list]) => [kind, payloads(list)])),
      ruleset: network.ruleset.map((one) => ({
        ...one,
        attributes: encodeAttributes(one.attributes).toString('base64'),
      })),
      xTables: network.xTables.map((one) => ({
        ...one,
        hooks: one.hooks.toString('base64'),
        entries: one.entries.toString('base64'),
      })),
    },
  };
}
