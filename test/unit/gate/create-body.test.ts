import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError, RefusedError } from '../../../src/errors.ts';
import { parseCreateBody, unknownFields } from '../../../src/gate/create-body.ts';
import { pathsElsewhere, targetOf } from '../../../src/gate/create-target.ts';

const fixture = readFileSync(
  new URL('../../fixtures/podman-driver-0.6.5/container-create.json', import.meta.url),
  'utf8',
);
const ID = '3446d5e1-6ff3-0022-b7ba-b606572ea818';
const OTHER = '11111111-2222-3333-4444-555555555555';
const DIRECTORIES = {
  dataDir: '/var/lib/nomad',
  allocDir: '/var/lib/nomad/alloc',
  canonicalAllocDir: '/var/lib/nomad/alloc',
  clientDirs: ['/srv/nomad/client', '/srv/nomad/host_volumes'],
  guarded: [],
};
const ALLOC = `/var/lib/nomad/alloc/${ID}`;

const read = (json: string) => targetOf(parseCreateBody(Buffer.from(json)), DIRECTORIES);

/** The recorded body with some of its top-level fields replaced. */
function changed(fields: Record<string, unknown>): string {
  const body: Record<string, unknown> = JSON.parse(fixture);
  return JSON.stringify({ ...body, ...fields });
}

const mount = (source: string, more: object = {}) => ({ type: 'bind', source, destination: '/x', ...more });
const withMount = (source: string, more?: object) =>
  changed({ mounts: [mount(`${ALLOC}/alloc`), mount(source, more)] });
const overlay = (option: string) => withMount('overlay', { type: 'overlay', options: [option] });

function refusalOf(json: string): RefusedError {
  try {
    read(json);
  } catch (error) {
    if (error instanceof RefusedError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('a create body', () => {
  test('that the driver wrote names its allocation and task', () => {
    const mounts = ['alloc', 't/local', 't/secrets', 'alloc/logs/.t.stdout.fifo'];
    expect(read(fixture)).toEqual({ allocationId: ID, task: 't', joinsNetns: true, mounts, volumes: [] });
  });

  test('says what Podman is to label for the container alone, of what is Nomad`s', () => {
    expect(read(withMount(`${ALLOC}/${ID}/t/x`, { options: ['Z'] })).privateLabel).toContain(`${ID}/t/x`);
    expect(read(withMount(`${ALLOC}/${ID}/t/x`, { options: ['z'] })).privateLabel).toBeUndefined();
    expect(read(withMount('/srv/data', { options: ['Z'] })).privateLabel).toBeUndefined();
  });

  test('names the task even when its name looks like an id', () => {
    expect(read(changed({ name: `${OTHER}-${ID}` }))).toMatchObject({ allocationId: ID, task: OTHER });
  });

  test('may mount what is not Nomad`s at all', () => {
    expect(read(withMount('/srv/data')).allocationId).toBe(ID);
    expect(read(withMount('/')).allocationId).toBe(ID);
    expect(read(withMount('/var/lib/nomad-other/x')).allocationId).toBe(ID);
    expect(read(withMount(ALLOC)).allocationId).toBe(ID);
    expect(read(withMount('tmpfs', { type: 'tmpfs' })).allocationId).toBe(ID);
  });

  test('is read the same where the paths have double slashes or the directories a slash at their end', () => {
    const body = parseCreateBody(Buffer.from(withMount(`//var/lib//nomad/./alloc/${ID}//t`)));
    const directories = { ...DIRECTORIES, dataDir: '/var/lib/nomad/', allocDir: '/var/lib/nomad/alloc//' };
    const mounts = ['alloc', 't', 'alloc/logs/.t.stdout.fifo'];
    expect(targetOf(body, directories)).toEqual({ allocationId: ID, task: 't', joinsNetns: true, mounts, volumes: [] });
  });

  test('leaves it open whether what it mounts elsewhere in the data dir are volumes of its task', () => {
    const volumesOf = (source: string, options?: string[]) => read(withMount(source, { options })).volumes;
    const where = 'mounts.1.source';
    for (const path of ['/var/lib/nomad', '/var/lib/nomad/', '/var/lib/nomad/host_volumes/x']) {
      expect(volumesOf(path)).toEqual([{ where, path, readOnly: false }]);
    }
    expect(volumesOf('/var/lib/nomad/x', ['ro', 'rprivate'])).toMatchObject([{ readOnly: true }]);
    expect(volumesOf('/var/lib/nomad/x', ['ro', 'rw'])).toMatchObject([{ readOnly: false }]);
    expect(volumesOf('/srv')).toEqual([]);
  });

  test('may name words for paths, paths relative to where Podman runs, and nothing', () => {
    const fields = {
      seccomp_profile_path: 'unconfined',
      base_hosts_file: 'image',
      healthLogDestination: 'events_logger',
      init_path: 'bin/catatonit',
      timezone: 'Europe/Berlin',
      oci_runtime: 'runc',
      annotations: { 'io.podman.annotations.seccomp': 'unconfined' },
      secrets: [],
      pod: '',
      hooks: null,
      log_configuration: { options: { tag: 'x', path: '' } },
    };
    expect(read(changed(fields)).task).toBe('t');
    expect(read(withMount('data/x')).task).toBe('t');
  });

  test('says by which options Podman changes what it mounts', () => {
    const volumeOf = (...options: string[]) => read(withMount('/var/lib/nomad/host_volumes/x', { options })).volumes;
    expect(volumeOf('ro', 'U')).toMatchObject([{ ownersBy: 'U', labelsBy: undefined }]);
    expect(volumeOf('ro', 'idmap=uids=0-1-1')).toMatchObject([{ ownersBy: 'idmap=uids=0-1-1' }]);
    expect(volumeOf('ro', 'z')).toMatchObject([{ labelsBy: 'z', ownersBy: undefined }]);
    expect(volumeOf('ro', 'rprivate')).toMatchObject([{ labelsBy: undefined, ownersBy: undefined }]);
  });

  test('has the paths of volumes wherever Nomad`s client keeps them', () => {
    expect(read(withMount('/srv/nomad/host_volumes/x')).volumes).toMatchObject([{ path: '/srv/nomad/host_volumes/x' }]);
  });

  test('says which of its paths are not Nomad`s', () => {
    const body = parseCreateBody(Buffer.from(changed({ init_path: '/sbin/init', seccomp_profile_path: 'a.json' })));
    expect(pathsElsewhere(body, DIRECTORIES)).toMatchObject([
      { where: 'init_path', path: '/sbin/init' },
      { where: 'seccomp_profile_path', path: 'a.json' },
    ]);
  });

  test('names the fields that neither Podman nor the driver has', () => {
    const body = parseCreateBody(Buffer.from(changed({ sidecars: [], Networks: {}, ENV: {}, healthconfig: {} })));
    expect(unknownFields(body)).toEqual(['sidecars']);
  });

  test('that mounts nothing but a volume is for no allocation', () => {
    const json = changed({ mounts: [mount('/var/lib/nomad/host_volumes/x')], log_configuration: null });
    expect(refusalOf(json).code).toBe('no_allocation');
  });

  test('may use devices of the Container Device Interface', () => {
    expect(read(changed({ devices: [{ path: 'nvidia.com/gpu=all' }, { path: '/dev/fuse:/dev/fuse' }] })).task).toBe(
      't',
    );
  });

  test.each([
    ['foreign_path', withMount(`/var/lib/nomad/alloc/${OTHER}/alloc`)],
    ['foreign_path', withMount(`/var/lib/nomad/alloc/${OTHER}/alloc`, { type: 'tmpfs' })],
    ['foreign_path', changed({ log_configuration: { path: `/var/lib/nomad/alloc/${OTHER}/alloc/logs/x` } })],
    ['foreign_path', changed({ init_path: `/var/lib/nomad/alloc/${OTHER}/t` })],
    ['foreign_path', changed({ overlay_volumes: [{ source: `/var/lib/nomad/alloc/${OTHER}/t` }] })],
    ['foreign_path', changed({ volumes: [{ Name: 'v', Options: [`upperdir=/var/lib/nomad/alloc/${OTHER}/t`] }] })],
    ['foreign_path', withMount('/srv', { options: [`lowerdir=/srv:/var/lib/nomad/alloc/${OTHER}/t`] })],
    ['foreign_path', changed({ devices: [{ path: `/var/lib/nomad/alloc/${OTHER}/x:/dev/x` }] })],
    ['foreign_path', changed({ ipcns: { nsmode: 'path', value: `/var/lib/nomad/alloc/${OTHER}/x` } })],
    ['foreign_path', changed({ mounts: [] })],
    ['data_dir_refused', changed({ overlay_volumes: [{ source: '/var/lib/nomad/host_volumes/x' }] })],
    ['data_dir_refused', withMount('/srv', { options: ['lowerdir=/var/lib/nomad/host_volumes/x'] })],
    ['alloc_dir_refused', withMount('/var/lib/nomad/alloc')],
    ['alloc_dir_refused', withMount('/var/lib/nomad/alloc/x')],
    ['alloc_dir_refused', withMount(`/var/lib/nomad/alloc/${ID}x/t`)],
    ['bad_path', withMount(`${ALLOC}/../${OTHER}`)],
    ['bad_path', withMount('')],
    ['bad_path', withMount('../x')],
    ['bad_path', changed({ seccomp_profile_path: '../x' })],
    ['bad_path', changed({ devices: [{ path: 'a/b=../../x' }] })],
    ['bad_path', changed({ timezone: '../../../etc/shadow' })],
    ['bad_path', withMount(`/${'a'.repeat(4096)}`)],
    ['bad_path', withMount('/srv', { options: ['lowerdir=/opt/nom\\\\ad'] })],
    ['foreign_path', withMount('/srv', { options: [`lowerdir+=/var/lib/nomad/alloc/${OTHER}/t`] })],
    ['foreign_path', withMount('/srv', { options: [`datadir+=/var/lib/nomad/alloc/${OTHER}/t`] })],
    ['foreign_path', overlay(`index=off,lowerdir=/srv:/var/lib/nomad/alloc/${OTHER}/t`)],
    ['foreign_path', overlay(`${'a,'.repeat(1000)}lowerdir+=/var/lib/nomad/alloc/${OTHER}/t,ro`)],
    ['foreign_path', withMount('/srv', { options: ['O', `upperdirs=/var/lib/nomad/alloc/${OTHER}/t`] })],
    ['foreign_path', changed({ healthLogDestination: `/var/lib/nomad/alloc/${OTHER}/t` })],
    ['foreign_path', changed({ log_configuration: { options: { path: `/var/lib/nomad/alloc/${OTHER}/t` } } })],
    ['foreign_path', changed({ idmappings: { AutoUserNsOpts: { PasswdFile: `/var/lib/nomad/alloc/${OTHER}/t` } } })],
    ['too_many_paths', withMount('/srv', { options: [`lowerdir=${'/a:'.repeat(257)}`] })],
    ['data_dir_refused', changed({ init_path: '/srv/nomad/client/csi/node/p/x' })],
    ['docker_netns', changed({ netns: { nsmode: 'path', value: '/var/run/docker/netns/1b2c3d4e5f60' } })],
    ['field_refused', changed({ devices_from: ['other'] })],
    ['field_refused', changed({ pod: 'p' })],
    ['field_refused', changed({ rootfs: '/srv/x' })],
    ['field_refused', changed({ rootfs_overlay: true })],
    ['field_refused', changed({ image_volumes: [{ Source: 'x', Destination: '/x' }] })],
    ['field_refused', changed({ secrets: [{ Source: 'x' }] })],
    ['field_refused', changed({ secret_env: { A: 'x' } })],
    ['field_refused', changed({ hooks: { prestart: [{ path: '/x' }] } })],
    ['field_refused', changed({ oci_runtime: '/home/alice/crun' })],
    ['field_refused', changed({ annotations: { 'run.oci.hooks.stdin': '1' } })],
    ['bad_path', withMount(`${ALLOC}/a\0b`)],
    ['no_allocation', changed({ mounts: [], log_configuration: null })],
    ['no_allocation', changed({ mounts: [mount('/srv')], log_configuration: {} })],
    ['name_mismatch', changed({ name: 't' })],
    ['name_mismatch', changed({ name: `-${ID}` })],
    ['name_mismatch', changed({ name: ID })],
    ['name_mismatch', changed({ name: `t-${OTHER}` })],
    ['foreign_netns', changed({ netns: { nsmode: 'path', value: `/var/run/netns/${OTHER}` } })],
    ['foreign_netns', changed({ netns: { nsmode: 'path', value: '/proc/1/ns/net' } })],
    ['volumes_from_refused', changed({ volumes_from: ['other'] })],
  ])('is refused as %s: %#', (code, json) => {
    expect(refusalOf(json).code).toBe(code);
  });

  test('may join its own netns under either name, and no other namespace by default', () => {
    expect(read(changed({ netns: { nsmode: 'path', value: `/run/netns/${ID}` } })).allocationId).toBe(ID);
    expect(read(changed({ netns: { nsmode: 'slirp4netns' } })).allocationId).toBe(ID);
  });

  test('is not believed by its env', () => {
    const json = changed({ env: { NOMAD_ALLOC_ID: ID }, mounts: [mount('/srv')], log_configuration: null });
    expect(refusalOf(json).code).toBe('no_allocation');
  });

  test('that names two allocations is refused with both the path and the remedy', () => {
    expect(refusalOf(withMount(`/var/lib/nomad/alloc/${OTHER}/alloc`)).message).toBe(
      `mounts.1.source "/var/lib/nomad/alloc/${OTHER}/alloc" belongs to another allocation than the container: its mounts are of allocation ${ID}; a task can use only its own allocation's directory`,
    );
  });

  test('that mounts any other allocation is refused, wherever it stands', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.nat({ max: 3 }), fc.constantFrom('/', '//', '/./'), (id, at, slash) => {
        fc.pre(id !== ID);
        const mounts = [mount(`${ALLOC}/alloc`), mount(`${ALLOC}/t/local`), mount(`${ALLOC}/t/secrets`)];
        mounts.splice(at, 0, mount(`/var/lib${slash}nomad${slash}alloc${slash}${id}${slash}t`));
        expect(() => read(changed({ mounts }))).toThrow(RefusedError);
      }),
    );
  });

  test.each([
    ['no JSON', '{'],
    ['two values', `${fixture}{}`],
    ['no object', '[]'],
    ['no object', 'null'],
    ['no name', changed({ name: undefined })],
    ['a name that is no text', changed({ name: 1 })],
    ['mounts that are no list', changed({ mounts: {} })],
    ['a source that is no text', changed({ mounts: [{ source: 1 }] })],
    [
      'too many keys and values',
      changed({ env: Object.fromEntries(Array.from({ length: 20_000 }, (_x, at) => [`K${at}`, ''])) }),
    ],
    ['too many levels', `${changed({ x: 0 }).slice(0, -2)}${'['.repeat(50_000)}${']'.repeat(50_000)}}`],
    ['a byte order mark', `\ufeff${fixture}`],
    ['a key twice', fixture.replace('"name"', '"mounts": [], "name"')],
    ['a nested key twice', fixture.replace('"type": "bind"', '"type": "bind", "type": "tmpfs"')],
    ['Mounts for mounts', fixture.replace('"mounts"', '"Mounts"')],
    ['MOUNTS beside mounts', changed({ MOUNTS: [] })],
    ['mountſ beside mounts', changed({ mountſ: [] })],
    ['ROOTFS for rootfs', changed({ ROOTFS: '/y' })],
    ['Source for source', changed({ mounts: [{ type: 'bind', Source: '/x' }] })],
    ['Value for value', changed({ netns: { nsmode: 'path', Value: '/x' } })],
    ['Path for path', changed({ log_configuration: { Path: '/x' } })],
  ])('that has %s is no create body', (_, json) => {
    expect(() => read(json)).toThrow(ParseError);
  });

  test('that is no UTF-8 is no create body', () => {
    expect(() => parseCreateBody(Buffer.from('{"name":"\xff"}', 'latin1'))).toThrow(ParseError);
  });

  test('may have keys in env that differ only by case', () => {
    expect(read(changed({ env: { http_proxy: 'a', HTTP_PROXY: 'b', mounts: 'c' } })).task).toBe('t');
  });

  test('that cannot be read does not show what is in it', () => {
    const secret = changed({ env: { PASSWORD: 'hunter2' } });
    for (const json of [secret.slice(0, -1), secret.replace('"command"', '"Name":"hunter2","command"')]) {
      expect(() => read(json)).toThrow(ParseError);
      expect(() => read(json)).not.toThrow(/hunter2/);
    }
  });
});
