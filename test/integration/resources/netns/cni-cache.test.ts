import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CniCache } from '../../../../src/resources/netns/cni-cache.ts';
import { ALLOCATION_ID as ID } from '../../../support/allocation-of.ts';
import { requires } from '../../../support/requires.ts';

const conflist = {
  cniVersion: '0.4.0',
  name: 'nomad',
  plugins: [{ type: 'loopback' }, { type: 'bridge', bridge: 'nomad' }],
};
const info = {
  kind: 'cniCacheV1',
  containerId: ID,
  config: Buffer.from(JSON.stringify(conflist)).toString('base64'),
  ifName: 'eth0',
  networkName: 'nomad',
  netns: `/var/run/netns/${ID}`,
  cniArgs: [['NOMAD_ALLOC_ID', ID]],
  capabilityArgs: { portMappings: [] },
  result: { cniVersion: '0.4.0', ips: [] },
};

// Without root nothing here is root's.
requires('root')("libcni's cache", () => {
  let directory: string;
  let results: string;
  let file: string;
  let cache: CniCache;
  const write = (changes: object = {}) => writeFileSync(file, JSON.stringify({ ...info, ...changes }), { mode: 0o600 });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cni-cache-'));
    results = join(directory, 'results');
    mkdirSync(results, { mode: 0o700 });
    file = join(results, `nomad-${ID}-eth0`);
    cache = new CniCache(directory);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('says how an allocation is attached, and forgets it', () => {
    write();
    writeFileSync(join(results, `nomad-${ID.replace('1', '2')}-eth0`), 'of another');
    const [attachment, ...others] = cache.attachments(ID);
    expect(others).toEqual([]);
    expect(attachment).toEqual({
      file,
      networkName: 'nomad',
      interfaceName: 'eth0',
      netns: info.netns,
      cniVersion: '0.4.0',
      plugins: conflist.plugins,
      capabilityArgs: info.capabilityArgs,
      result: info.result,
    });
    if (attachment) cache.forget(attachment);
    expect(existsSync(file)).toBe(false);
    expect(cache.attachments(ID)).toEqual([]);
  });

  test('has nothing where there is none', () => {
    expect(new CniCache(join(directory, 'missing')).attachments(ID)).toEqual([]);
  });

  test.each([
    ['of another kind', { kind: 'x' }],
    ['of another container', { containerId: ID.replace('1', '2') }],
    ['without a configuration', { config: '' }],
    ['with a plugin that is a path', { config: base64({ ...conflist, plugins: [{ type: '../../tmp/x' }] }) }],
    ['with the configuration of another network', { config: base64({ ...conflist, name: 'other' }) }],
  ])('that is %s is not used', (_, changes) => {
    write(changes);
    expect(() => cache.attachments(ID)).toThrow(expect.objectContaining({ code: 'parse_error' }));
  });

  test.each([
    ['the file', () => file, 0o620],
    ['the directory', () => results, 0o1777],
    ['a directory above it', () => directory, 0o775],
  ])('is not used where others can write to %s', (_, path, mode) => {
    write();
    chmodSync(path(), mode);
    expect(() => cache.attachments(ID)).toThrow(expect.objectContaining({ code: 'not_roots_alone' }));
  });
});

function base64(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64');
}
