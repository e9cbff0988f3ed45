import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { asPassed, GateBench, ID, ok, post } from '../../support/gate-bench.ts';

const ALLOC = `/var/lib/nomad/alloc/${ID}`;
const OTHER = '11111111-2222-3333-4444-555555555555';

/** What the driver writes for every task (StartTask, driver.go). */
const EVERY = {
  name: `t-${ID}`,
  command: ['sleep', '600'],
  env: { NOMAD_ALLOC_ID: ID },
  labels: {},
  log_configuration: { driver: 'k8s-file', path: `${ALLOC}/alloc/logs/.t.stdout.fifo` },
  image: 'c'.repeat(64),
  pidns: {},
  utsns: {},
  ipcns: {},
  userns: {},
  cgroupns: {},
  netns: { nsmode: 'pasta' },
  annotations: {},
  resource_limits: { memory: { limit: 67_108_864 }, cpu: {} },
  oom_score_adj: 0,
};
const OWN_MOUNTS = ['alloc', 't/local', 't/secrets'].map((path) => ({
  destination: `/${path.split('/').at(-1)}`,
  type: 'bind',
  source: `${ALLOC}/${path}`,
}));
const volume = (source: string, ...options: string[]) => ({
  mounts: [...OWN_MOUNTS, { destination: '/x', type: 'bind', source, ...(options.length > 0 ? { options } : {}) }],
});
const tmpfs = (...options: string[]) => ({
  mounts: [...OWN_MOUNTS, { destination: '/x', type: 'tmpfs', ...(options.length > 0 ? { options } : {}) }],
});
const ns = (nsmode: string, value?: string) => ({ nsmode, ...(value === undefined ? {} : { value }) });
const NOT_IN_CREATE = {};

type Row = readonly [option: string, inTheJob: string, fields: object, verdict: 'passed' | (string & {})];

/**
 * Every option of the driver's task schema (config.go) of 0.6.2 to 0.6.5, as a job has it, with the fields of the create that
 * StartTask makes of it, and what becomes of the create. Of some options the gate sees nothing there.
 */
const ROWS: readonly Row[] = [
  ['apparmor_profile', '"unconfined"', { apparmor_profile: 'unconfined' }, 'passed'],
  ['args', '["600"]', { command: ['sleep', '600'] }, 'passed'],
  ['auth', '{ username, password, tls_verify }', NOT_IN_CREATE, 'passed'],
  ['auth_soft_fail', 'true', NOT_IN_CREATE, 'passed'],
  ['command', '"sleep"', { command: ['sleep'] }, 'passed'],
  ['cap_add', '["NET_ADMIN"]', { cap_add: ['NET_ADMIN'] }, 'passed'],
  ['cap_drop', '["ALL"]', { cap_drop: ['ALL'] }, 'passed'],
  ['selinux_opts', '["type:spc_t"]', { selinux_opts: ['type:spc_t'] }, 'passed'],
  ['cpu_hard_limit', 'true', { resource_limits: { memory: {}, cpu: { quota: 50_000, period: 100_000 } } }, 'passed'],
  ['cpu_cfs_period', '100000', { resource_limits: { memory: {}, cpu: { quota: 50_000, period: 100_000 } } }, 'passed'],
  ['devices', '["/dev/null"]', { devices: [{ path: '/dev/null' }] }, 'passed'],
  ['devices', '["/dev/null:/dev/x:rwm"]', { devices: [{ path: '/dev/null:/dev/x:rwm' }] }, 'passed'],
  ['devices', '["dev/null"]', { devices: [{ path: 'dev/null' }] }, 'passed'],
  ['devices', '["nvidia.com/gpu=all"]', { devices: [{ path: 'nvidia.com/gpu=all' }] }, 'passed'],
  ['devices', '["/proc/self/root/dev/sda"]', { devices: [{ path: '/proc/self/root/dev/sda' }] }, 'host_path_refused'],
  ['entrypoint', '["/bin/sh", "-c"]', { entrypoint: ['/bin/sh', '-c'] }, 'passed'],
  ['working_dir', '"srv"', { work_dir: 'srv' }, 'passed'],
  ['working_dir', '"/srv"', { work_dir: '/srv' }, 'passed'],
  ['hostname', '"web"', { hostname: 'web' }, 'passed'],
  ['image', '"docker.io/library/busybox:1.37"', { image: 'd'.repeat(64) }, 'passed'],
  ['arch', '"arm64"', NOT_IN_CREATE, 'passed'],
  ['os', '"linux"', NOT_IN_CREATE, 'passed'],
  ['variant', '"v8"', NOT_IN_CREATE, 'passed'],
  ['image_pull_timeout', '"5m"', NOT_IN_CREATE, 'passed'],
  ['init', 'true', { init: true }, 'passed'],
  [
    'init_path',
    '"/usr/libexec/podman/catatonit"',
    { init: true, init_path: '/usr/libexec/podman/catatonit' },
    'passed',
  ],
  ['init_path', '"catatonit"', { init: true, init_path: 'catatonit' }, 'passed'],
  ['init_path', '"../catatonit"', { init: true, init_path: '../catatonit' }, 'bad_path'],
  ['init_path', 'of another allocation', { init_path: `/var/lib/nomad/alloc/${OTHER}/x` }, 'foreign_path'],
  [
    'ipv4_address',
    '"10.88.0.5"',
    { netns: ns('bridge'), Networks: { default: { static_ips: ['10.88.0.5'] } } },
    'passed',
  ],
  ['ipv4_address', '"10.88.0.5", Podman 3', { netns: ns('bridge'), static_ip: '10.88.0.5' }, 'passed'],
  ['ipv6_address', '"fd00::5"', { netns: ns('bridge'), Networks: { default: { static_ips: ['fd00::5'] } } }, 'passed'],
  ['ipv6_address', '"fd00::5", Podman 3', { netns: ns('bridge'), static_ipv6: 'fd00::5' }, 'passed'],
  [
    'static_ips',
    '["10.88.0.6"]',
    { netns: ns('bridge'), Networks: { default: { static_ips: ['10.88.0.6'] } } },
    'passed',
  ],
  ['static_mac', '"92:d0:c6:0a:29:33"', { Networks: { default: { static_mac: '92:d0:c6:0a:29:33' } } }, 'passed'],
  ['static_mac', '"92:d0:c6:0a:29:33", Podman 3', { static_mac: 'ktDGCikz' }, 'passed'],
  ['labels', '[{ a = "b" }]', { labels: { a: 'b' } }, 'passed'],
  [
    'logging',
    '{ driver = "nomad" }',
    { log_configuration: { driver: 'k8s-file', path: `${ALLOC}/alloc/logs/.t.stdout.fifo` } },
    'passed',
  ],
  [
    'logging',
    '{ driver = "journald", options = [{ tag = "x" }] }',
    { log_configuration: { driver: 'journald', options: { tag: 'x' } } },
    'passed',
  ],
  [
    'logging',
    '{ options = [{ path = "/proc/1/root/x" }] }',
    { log_configuration: { options: { path: '/proc/1/root/x' } } },
    'host_path_refused',
  ],
  ['memory_reservation', '"32m"', { resource_limits: { memory: { reservation: 33_554_432 }, cpu: {} } }, 'passed'],
  ['memory_swap', '"180m"', { resource_limits: { memory: { swap: 188_743_680 }, cpu: {} } }, 'passed'],
  ['memory_swappiness', '60', { resource_limits: { memory: { swappiness: 60 }, cpu: {} } }, 'passed'],
  ['network_mode', '"bridge"', { netns: ns('bridge') }, 'passed'],
  ['network_mode', '"host"', { netns: ns('host') }, 'passed'],
  ['network_mode', '"none"', { netns: ns('none') }, 'passed'],
  ['network_mode', '"pasta"', { netns: ns('pasta') }, 'passed'],
  ['network_mode', '"slirp4netns"', { netns: ns('slirp4netns') }, 'passed'],
  ['network_mode', '"mynet"', { netns: ns('bridge'), Networks: { mynet: {} } }, 'passed'],
  ['network_mode', '"task:other"', { netns: ns('container', `other-${ID}`) }, 'passed'],
  ['network_mode', '"container:<own allocation\'s>"', { netns: ns('container', `other-${ID}`) }, 'passed'],
  [
    'network_mode',
    '"container:<another allocation\'s>"',
    { netns: ns('container', `t-${OTHER}`) },
    'foreign_container',
  ],
  ['network_mode', '"ns:/proc/1/ns/net"', { netns: ns('path', '/proc/1/ns/net') }, 'foreign_netns'],
  [
    'network_mode',
    'none, beside a docker task',
    { netns: ns('path', '/var/run/docker/netns/1b2c3d4e5f60') },
    'docker_netns',
  ],
  ['network_mode', 'none, in a group with a network', { netns: ns('path', `/var/run/netns/${ID}`) }, 'passed'],
  ['ipc_mode', '"host"', { ipcns: ns('host') }, 'passed'],
  ['ipc_mode', '"private"', { ipcns: ns('private') }, 'passed'],
  ['ipc_mode', '"shareable"', { ipcns: ns('shareable') }, 'passed'],
  ['ipc_mode', '"none"', { ipcns: ns('none') }, 'passed'],
  ['ipc_mode', '"task:other"', { ipcns: ns('container', `other-${ID}`) }, 'passed'],
  ['ipc_mode', '"container:<another allocation\'s>"', { ipcns: ns('container', `t-${OTHER}`) }, 'foreign_container'],
  ['ipc_mode', '"ns:/proc/1/ns/ipc"', { ipcns: ns('path', '/proc/1/ns/ipc') }, 'host_path_refused'],
  ['oom_score_adj', '500', { oom_score_adj: 500 }, 'passed'],
  ['extra_hosts', '["db:10.0.0.1"]', { hostadd: ['db:10.0.0.1'] }, 'passed'],
  ['pids_limit', '100', { resource_limits: { memory: {}, cpu: {}, pids: { limit: 100 } } }, 'passed'],
  [
    'port_map',
    '[{ http = 80 }]',
    { portmappings: [{ host_ip: '10.0.0.1', container_port: 80, host_port: 20_000, protocol: 'tcp' }] },
    'passed',
  ],
  ['ports', '["http"]', { portmappings: [{ container_port: 80, host_port: 20_000, protocol: 'udp' }] }, 'passed'],
  ['privileged', 'true', { privileged: true }, 'passed'],
  ['security_opt', '["no-new-privileges"]', { no_new_privileges: true }, 'passed'],
  [
    'security_opt',
    '["label=disable"]',
    { selinux_opts: ['disable'], annotations: { 'io.podman.annotations.label': 'disable' } },
    'passed',
  ],
  ['security_opt', '["label=nested"]', { labels_nested: true }, 'passed'],
  [
    'security_opt',
    '["apparmor=unconfined"]',
    { apparmor_profile: 'unconfined', annotations: { 'io.podman.annotations.apparmor': 'unconfined' } },
    'passed',
  ],
  [
    'security_opt',
    '["seccomp=unconfined"]',
    { seccomp_profile_path: 'unconfined', annotations: { 'io.podman.annotations.seccomp': 'unconfined' } },
    'passed',
  ],
  ['security_opt', '["seccomp=/etc/seccomp.json"]', { seccomp_profile_path: '/etc/seccomp.json' }, 'passed'],
  ['security_opt', '["seccomp=profile.json"]', { seccomp_profile_path: 'profile.json' }, 'passed'],
  ['security_opt', '["seccomp=/proc/1/root/x"]', { seccomp_profile_path: '/proc/1/root/x' }, 'host_path_refused'],
  ['security_opt', '["proc-opts=hidepid=2"]', { procfs_opts: ['hidepid=2'] }, 'passed'],
  ['security_opt', '["mask=/sys/x"]', { mask: ['/sys/x'] }, 'passed'],
  ['security_opt', '["unmask=ALL"]', { unmask: ['ALL'] }, 'passed'],
  ['security_opt', '["systempaths=unconfined"]', { unmask: ['ALL'] }, 'passed'],
  ['socket', '"alice"', NOT_IN_CREATE, 'passed'],
  ['sysctl', '[{ "net.core.somaxconn" = "1024" }]', { sysctl: { 'net.core.somaxconn': '1024' } }, 'passed'],
  ['tmpfs', '["/x"]', tmpfs(), 'passed'],
  ['tmpfs', '["/x:size=8m,mode=1777"]', tmpfs('size=8m', 'mode=1777'), 'passed'],
  ['tty', 'true', { terminal: true }, 'passed'],
  ['ulimit', '[{ nofile = "1024:2048" }]', { r_limits: [{ type: 'RLIMIT_NOFILE', hard: 2048, soft: 1024 }] }, 'passed'],
  ['volumes', '["local/conf:/x"]', volume(`${ALLOC}/t/local/conf`), 'passed'],
  ['volumes', '["../alloc/data:/x:ro,z"]', volume(`${ALLOC}/alloc/data`, 'ro', 'z'), 'passed'],
  ['volumes', '["/srv/data:/x"]', volume('/srv/data'), 'passed'],
  ['volumes', '["/srv/data:/x:rw,U,rslave"]', volume('/srv/data', 'rw', 'U', 'rslave'), 'passed'],
  ['volumes', '["/etc/localtime:/x:ro"]', volume('/etc/localtime', 'ro'), 'passed'],
  ['volumes', '["/dev:/x"]', volume('/dev'), 'passed'],
  ['volumes', '["/sys:/x:ro"]', volume('/sys', 'ro'), 'passed'],
  ['volumes', '["/run/user/1001/podman/podman.sock:/x"]', volume('/run/user/1001/podman/podman.sock'), 'passed'],
  ['volumes', '["/:/x:ro"]', volume('/', 'ro', 'rslave'), 'host_path_refused'],
  ['volumes', '["/var/lib:/x"]', volume('/var/lib'), 'host_path_refused'],
  ['volumes', '["/proc:/x:ro"]', volume('/proc', 'ro'), 'host_path_refused'],
  ['volumes', '["/run:/x"]', volume('/run'), 'host_path_refused'],
  ['volumes', '["/var/lib/nomad/alloc:/x"]', volume('/var/lib/nomad/alloc'), 'alloc_dir_refused'],
  ['volumes', 'of another allocation', volume(`/var/lib/nomad/alloc/${OTHER}/alloc`), 'foreign_path'],
  ['force_pull', 'true', NOT_IN_CREATE, 'passed'],
  ['readonly_rootfs', 'true', { read_only_filesystem: true }, 'passed'],
  ['userns', '"keep-id"', { userns: ns('keep-id'), idmappings: idMappings(false) }, 'passed'],
  [
    'userns',
    '"keep-id:uid=200,gid=210"',
    { userns: ns('keep-id', 'uid=200,gid=210'), idmappings: idMappings(false) },
    'passed',
  ],
  ['userns', '"auto:size=1000"', { userns: ns('auto', 'size=1000'), idmappings: idMappings(true) }, 'passed'],
  ['userns', '"host"', { userns: ns('host') }, 'passed'],
  ['userns', '"nomap"', { userns: ns('nomap') }, 'passed'],
  ['userns', '"ns:/proc/1/ns/user"', { userns: ns('ns', '/proc/1/ns/user') }, 'passed'],
  ['shm_size', '"64m"', { shm_size: 67_108_864 }, 'passed'],
];

/** What Nomad has the driver mount and do beside its own options. */
const OF_NOMAD: readonly Row[] = [
  ['user of the task', '"1000:1000"', { user: '1000:1000' }, 'passed'],
  [
    'dns of the group',
    '{ servers, searches, options }',
    { dns_server: ['10.0.0.1'], dns_search: ['x'], dns_option: ['ndots:1'] },
    'passed',
  ],
  ['volume_mount', 'of a host volume elsewhere', volume('/srv/volume', 'ro', 'rprivate'), 'passed'],
  ['volume_mount', 'of a volume in the data dir', volume('/var/lib/nomad/host_volumes/v', 'rprivate'), 'passed'],
  ['cgroup manager systemd', '', { cgroup_parent: 'nomad.slice' }, 'passed'],
  ['extra_labels of the driver', '["job_name"]', { labels: { 'com.hashicorp.nomad.alloc_id': ID } }, 'passed'],
  ['disable_log_collection of the driver', 'true', { log_configuration: {} }, 'passed'],
];

function idMappings(isAuto: boolean): object {
  const opts = {
    Size: 0,
    InitialSize: 0,
    PasswdFile: '',
    GroupFile: '',
    AdditionalUIDMappings: null,
    AdditionalGIDMappings: null,
  };
  return {
    HostUIDMapping: false,
    HostGIDMapping: false,
    UIDMap: [],
    GIDMap: null,
    AutoUserNs: isAuto,
    AutoUserNsOpts: opts,
  };
}

/** The names of the task schema of 0.6.5; 0.6.2 to 0.6.4 have no others. */
const SCHEMA =
  'apparmor_profile args auth auth_soft_fail command cap_add cap_drop selinux_opts cpu_hard_limit cpu_cfs_period devices entrypoint working_dir hostname image arch os variant image_pull_timeout init init_path ipv4_address ipv6_address static_ips static_mac labels logging memory_reservation memory_swap memory_swappiness network_mode ipc_mode oom_score_adj extra_hosts pids_limit port_map ports privileged security_opt socket sysctl tmpfs tty ulimit volumes force_pull readonly_rootfs userns shm_size'.split(
    ' ',
  );

describe('a create with the option', () => {
  let bench: GateBench;
  let received: string[];

  beforeAll(async () => {
    bench = new GateBench();
    received = [];
    await bench.rawPodman((peer) =>
      peer.socket.once('data', () => {
        received.push(peer.text);
        peer.socket.end(ok('{"Id":"c0ffee"}', '201 Created'));
      }),
    );
    await bench.open();
  });
  afterAll(() => bench[Symbol.asyncDispose]());

  test.each([...ROWS, ...OF_NOMAD])('%s = %s', async (_option, _inTheJob, fields, verdict) => {
    const request = post(
      '/v1.0.0/libpod/containers/create',
      JSON.stringify({ ...EVERY, mounts: OWN_MOUNTS, ...fields }),
    );
    received.length = 0;
    bench.readiness.asked.length = 0;
    const client = bench.client().write(request);
    await client.seesEnd();
    if (verdict === 'passed') {
      expect(client.text).toContain('201 Created');
      expect(received).toEqual([asPassed(request)]);
      // It was held until its allocation was ready.
      expect(bench.readiness.asked).toHaveLength(1);
    } else {
      expect(client.text).toContain(`"cause":"${verdict}"`);
      expect(received).toEqual([]);
    }
  });

  test('of every name that the schema of the driver has is among these', () => {
    expect(new Set(ROWS.map(([option]) => option))).toEqual(new Set(SCHEMA));
  });

  test('of none of them has a field that the gate does not know', async () => {
    expect((await bench.metrics.gateUnknownFields.get()).values).toMatchObject([{ value: 0 }]);
  });
});

test('a field that the gate does not know passes, is counted, and named in a debug line', async () => {
  await using bench = new GateBench();
  await bench.rawPodman((peer) =>
    peer.socket.once('data', () => peer.socket.end(ok('{"Id":"c0ffee"}', '201 Created'))),
  );
  await bench.open();
  const body = JSON.stringify({ ...EVERY, mounts: OWN_MOUNTS, sidecars: [], ['x'.repeat(1000)]: 1 });
  await bench.client().write(post('/v1.0.0/libpod/containers/create', body)).sees('c0ffee');
  expect((await bench.metrics.gateUnknownFields.get()).values).toMatchObject([{ value: 2 }]);
  expect(bench.lines.find(({ message }) => message.includes('does not know'))?.fields).toEqual({
    fields: ['sidecars', 'x'.repeat(100)],
  });
});
