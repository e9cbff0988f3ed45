import { release } from 'node:os';
import { missingCapabilities } from './capabilities.ts';
import { directoryIsThere } from './directory.ts';
import { missingPrograms } from './programs.ts';
import { fileIsThere, readTextIfThere } from './read-file.ts';
import { isSelinuxOn } from './selinux.ts';

/** Of a file of the kernel's: its modules, or all mounts of a busy host. */
const MOST_BYTES = 16 * 1024 * 1024;
/** One number. */
const MOST_OF_PARAMETER = 1024;

/** What the checks of the host go by, HostFacts of src/model/checks. @throws RefusedError, an Error of node:fs where the kernel does not say */
export function hostFacts() {
  const userNamespaces = parameter('/proc/sys/user/max_user_namespaces');
  const clone = parameter('/proc/sys/kernel/unprivileged_userns_clone');
  return {
    node: process.versions.node,
    kernel: release(),
    missingCapabilities: missingCapabilities(),
    missingPrograms: missingPrograms(),
    mostUserNamespaces: userNamespaces === undefined ? undefined : Number(userNamespaces),
    mayMakeUserNamespaces: clone === undefined ? undefined : clone !== '0',
    hasCgroupV2: fileIsThere('/sys/fs/cgroup/cgroup.controllers'),
    isRootShared: isSharedIn(readTextIfThere('/proc/self/mountinfo', MOST_BYTES) ?? ''),
    isSelinuxOn: isSelinuxOn(),
    isApparmorOn: parameter('/sys/module/apparmor/parameters/enabled') === 'Y',
    hasBridges: hasBridges(),
    forwards: parameter('/proc/sys/net/ipv4/ip_forward') === '1',
  };
}

/** Read with a small buffer: the kernel makes one as large for itself. */
function parameter(path: string): string | undefined {
  return readTextIfThere(path, MOST_OF_PARAMETER)?.trim();
}

/** Whether the mount that is seen at / is shared, by the text of proc_pid_mountinfo(5): the last one there lies over the others. */
function isSharedIn(mountinfo: string): boolean {
  const atRoot = mountinfo.split('\n').filter((line) => line.split(' ')[4] === '/');
  return / shared:\d+ (.*)?- /.test(atRoot.at(-1) ?? '');
}

/** Looked for where Nomad does: client/fingerprint/bridge_linux.go. */
function hasBridges(): boolean {
  if (directoryIsThere('/sys/module/bridge')) return true;
  const modules = ['modules.builtin', 'modules.dep'].map((name) => `/lib/modules/${release()}/${name}`);
  return modules.some((path) => /(^|\/)bridge\.ko/m.test(readTextIfThere(path, MOST_BYTES) ?? ''));
}
