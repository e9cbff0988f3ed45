import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSourceOf } from '../../../src/model/volume.ts';

const ID = '11111111-2222-3333-4444-555555555555';
const CSI = '/data/client/csi';
const csi = (readOnly: boolean) => ({
  uid: 1001,
  tasks: ['t'],
  claim: { name: 'disk', type: 'csi', source: 'vol[0]', readOnly },
  path: undefined,
});

describe("the source of a CSI volume's mount", () => {
  const isSource = (path: string, readOnly = false) => isSourceOf(`${CSI}/${path}`, ID, csi(readOnly), CSI);

  test.each([
    `node/plugin/per-alloc/${ID}/vol[0]/rw-file-system-multi-node-multi-writer`,
    `monolith/a.b/per-alloc/${ID}/vol[0]/rw-file-system-single-node-writer`,
  ])('is %s', (path) => {
    expect(isSource(path)).toBe(true);
  });

  test.each([
    `controller/plugin/per-alloc/${ID}/vol[0]/rw-x`,
    `node//per-alloc/${ID}/vol[0]/rw-x`,
    `node/../per-alloc/${ID}/vol[0]/rw-x`,
    `node/plugin/staging/${ID}/vol[0]/rw-x`,
    `node/plugin/per-alloc/22222222-2222-3333-4444-555555555555/vol[0]/rw-x`,
    `node/plugin/per-alloc/${ID}/vol[1]/rw-x`,
    `node/plugin/per-alloc/${ID}/vol[0]`,
    `node/plugin/per-alloc/${ID}/vol[0]/`,
    `node/plugin/per-alloc/${ID}/vol[0]/ro-x`,
    `node/plugin/per-alloc/${ID}/vol[0]/rw-x/y`,
    '',
  ])('is not %s', (path) => {
    expect(isSource(path)).toBe(false);
  });

  test('is the one for reading where the claim is for reading', () => {
    expect(isSource(`node/plugin/per-alloc/${ID}/vol[0]/ro-x`, true)).toBe(true);
    expect(isSource(`node/plugin/per-alloc/${ID}/vol[0]/rw-x`, true)).toBe(false);
  });

  test('is never in another directory', () => {
    fc.assert(
      fc.property(fc.string(), (dir) => {
        fc.pre(!dir.startsWith(`${CSI}/`));
        expect(isSourceOf(`${dir}/node/plugin/per-alloc/${ID}/vol[0]/rw-x`, ID, csi(false), CSI)).toBe(dir === CSI);
      }),
    );
  });
});

describe("the source of a host volume's mount", () => {
  const claim = { name: 'data', type: 'host', source: 'files', readOnly: false };

  test('is the path that Nomad has for it, to the letter', () => {
    const volume = { uid: 1, tasks: [], claim, path: '/data/host_volumes/1' };
    expect(isSourceOf('/data/host_volumes/1', ID, volume, CSI)).toBe(true);
    for (const path of [
      '/data/host_volumes/1/',
      '/data//host_volumes/1',
      '/data/host_volumes/1/x',
      '/data/host_volumes',
    ]) {
      expect(isSourceOf(path, ID, volume, CSI)).toBe(false);
    }
  });

  test('is nothing where Nomad does not say', () => {
    expect(isSourceOf('', ID, { uid: 1, tasks: [], claim, path: undefined }, CSI)).toBe(false);
  });

  test('is nothing for a volume of a type that we do not know', () => {
    const other = { uid: 1, tasks: [], claim: { ...claim, type: 'ebs' }, path: '/data/x' };
    expect(isSourceOf('/data/x', ID, other, CSI)).toBe(false);
  });
});
