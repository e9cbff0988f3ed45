import * as z from 'zod';
import { ParseError } from '../errors.ts';
import { holdsMoreThan, MOST_PIECES } from '../json-pieces.ts';
import { duplicateKey } from './duplicate-key.ts';

/**
 * An object whose known keys must be spelt as they are: Go's decoder takes `Mounts` and even `mountſ` for `mounts`
 * (encoding/json folds case as Unicode does), and we would check something else than Podman reads.
 */
export function exact<S extends z.ZodRawShape>(shape: S) {
  const known = new Map(Object.keys(shape).map((key) => [folded(key), key]));
  return z.looseObject(shape).check(({ value, issues }) => {
    for (const key of Object.keys(value)) {
      const name = known.get(folded(key));
      if (name === undefined || name === key) continue;
      issues.push({ code: 'custom', path: [key], input: key, message: `expected the spelling ${name}, got ${key}` });
    }
  });
}

/** Far more than any name that is compared here has. */
const LONGEST_NAME = 100;

/** At least as much as Go takes for the same name: U+017F for s, U+212A for k, and more that Go tells apart. */
export const folded = (key: string) => (key.length > LONGEST_NAME ? key : key.toUpperCase().toLowerCase());

/** Go reads each half of a surrogate pair that stands alone as U+FFFD. */
const word = z.string().refine((value) => value.isWellFormed(), { error: 'half of a surrogate pair' });
const text = word.nullish();
const texts = z.array(word).nullish();
const isThere = z.unknown().optional();
const namespace = exact({ nsmode: text, value: text }).nullish();
const devices = z.array(exact({ path: text })).nullish();

/**
 * What reaches out of the container in Podman's SpecGenerator (pkg/specgen/specgen.go, 3.0 to 6.0): names of paths on the
 * host, of other containers, and what the driver has no option for.
 *
 * Whatever is taken here Go reads as the same (but for a map's key `__proto__`, which is left out here), or refuses: more than
 * 10,000 levels, and other kinds of value in fields that are not read here. Refused here, and taken by Go: null in place of a text in a
 * list or map, a key twice, in another case too, what is no UTF-8 or half a surrogate pair (U+FFFD to Go), and more behind the first value.
 */
const createBody = exact({
  name: word,
  image: text,
  mounts: z.array(exact({ type: text, source: text, options: texts })).nullish(),
  overlay_volumes: z.array(exact({ source: text, options: texts })).nullish(),
  volumes: z.array(exact({ Options: texts })).nullish(),
  volumes_from: texts,
  rootfs: text,
  init_path: text,
  conmon_pid_file: text,
  seccomp_profile_path: text,
  base_hosts_file: text,
  healthLogDestination: text,
  timezone: text,
  oci_runtime: text,
  log_configuration: exact({ path: text, options: z.record(word, word).nullish() }).nullish(),
  idmappings: exact({ AutoUserNsOpts: exact({ PasswdFile: text, GroupFile: text }).nullish() }).nullish(),
  devices,
  host_device_list: devices,
  devices_from: texts,
  dependencyContainers: texts,
  pod: text,
  annotations: z.record(word, word).nullish(),
  hooks: isThere,
  secrets: isThere,
  secret_env: isThere,
  image_volumes: isThere,
  artifact_volumes: isThere,
  rootfs_overlay: isThere,
  rootfs_mapping: isThere,
  netns: namespace,
  ipcns: namespace,
  pidns: namespace,
  utsns: namespace,
  userns: namespace,
  cgroupns: namespace,
  sysctl: z.record(word, word).nullish(),
});
/** The body of a container create, as far as the gate reads it. */
export type CreateBody = z.infer<typeof createBody>;

/** The namespaces that a container can take from elsewhere. */
export const NAMESPACES = ['netns', 'ipcns', 'pidns', 'utsns', 'userns', 'cgroupns'] as const;

/** The other fields, of Podman 3.0 to 6.0 and of the driver: they stay within the container, or within what Podman gives every one of the user's. */
const HARMLESS = `
  entrypoint command env_host httpproxy env terminal stdin labels labels_nested label_nested stop_signal stop_timeout
  timeout restart_policy restart_tries systemd sdnotifyMode namespace hostname hostusers remove removeImage
  containerCreateCommand init_container_type personality envmerge unsetenv unsetenvall manage_password passwd_entry
  group_entry raw_image_name image_os image_arch image_variant image_volume_mode init device_cgroup_rule gpus shm_size
  shm_size_systemd work_dir create_working_dir storage_opts rootfs_propagation volatile chroot_directories privileged
  user groups cap_add cap_drop selinux_opts apparmor_profile seccomp_policy no_new_privileges read_only_filesystem
  read_write_tmpfs umask procfs_opts mask unmask cgroups_mode cgroup_parent static_ip static_ipv6 static_mac
  portmappings expose publish_image_ports cni_networks Networks networkOrder dns_server dns_search dns_option hostadd
  network_options use_image_resolve_conf use_image_hosts use_image_hostname intelRdt resource_limits r_limits
  oom_score_adj weightDevice throttleReadBpsDevice throttleWriteBpsDevice throttleReadIOPSDevice throttleWriteIOPSDevice
  cpu_period cpu_quota unified healthconfig health_check_on_failure_action startupHealthConfig healthMaxLogCount
  healthMaxLogSize
`;
const KNOWN = new Set([...Object.keys(createBody.shape), ...HARMLESS.trim().split(/\s+/)].map(folded));

/** The fields that neither any Podman up to now reads nor the driver writes: a newer one may mean something by them. */
export function unknownFields(body: CreateBody): string[] {
  return Object.keys(body).filter((key) => !KNOWN.has(folded(key)));
}

/**
 * Reads the body of a container create.
 * @throws ParseError where it is no JSON of the form that Podman takes, or can be read in two ways
 */
export function parseCreateBody(bytes: Buffer): CreateBody {
  let json: string;
  let value: unknown;
  try {
    json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    if (holdsMoreThan(MOST_PIECES, json))
      throw new ParseError('container create', `at most ${MOST_PIECES} keys and values`, 'more');
    value = JSON.parse(json);
  } catch (error) {
    if (error instanceof ParseError) throw error;
    // Without the cause: its message quotes the body, which may hold secrets.
    throw new ParseError(
      'container create',
      'a JSON object in UTF-8',
      error instanceof SyntaxError ? 'no JSON' : 'no UTF-8',
    );
  }
  const twice = duplicateKey(json);
  if (twice !== undefined) throw new ParseError('container create', 'each key once', `${JSON.stringify(twice)} twice`);
  const result = createBody.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new ParseError(
    `container create, ${issue?.path.join('.') || 'body'}`,
    "Podman's form",
    issue?.message ?? 'another',
  );
}
