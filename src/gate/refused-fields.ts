import { RefusedError } from '../errors.ts';
import type { CreateBody } from './create-body.ts';

/**
 * Fields that the driver has no option for, and that would give a container what no mount of its allocation gives it:
 * who speaks to a gate in the driver's place, or with a driver of later, does not get further by them.
 */
const REFUSED = {
  volumes_from: 'takes the mounts of another container; name the mounts themselves',
  devices_from: 'takes the devices of another container; name the devices themselves',
  pod: "puts the container among those of a pod of the user's, which is not the allocation's",
  rootfs: 'has a directory of the host in place of an image; name an image',
  rootfs_overlay: 'has a directory of the host in place of an image; name an image',
  rootfs_mapping: 'has a directory of the host in place of an image; name an image',
  image_volumes: "mounts images of the user's; name an image in place of them",
  artifact_volumes: "mounts artifacts of the user's; use an artifact block of the job",
  secrets: "shows secrets of the user's Podman, which are not the job's; use templates of the job",
  secret_env: "shows secrets of the user's Podman, which are not the job's; use templates of the job",
  hooks: 'runs programs on the host',
} as const;

/** crun's: hooks, plug-ins and sockets of the host. The driver writes io.podman.annotations.* alone. */
const RUNTIME_ANNOTATION = /^run\.oci\./i;

/** @throws RefusedError `volumes_from_refused`, `field_refused` where the create has one of them */
export function refuseFields(body: CreateBody): void {
  for (const [field, reason] of Object.entries(REFUSED)) {
    if (isEmpty(body[field])) continue;
    throw new RefusedError(field === 'volumes_from' ? 'volumes_from_refused' : 'field_refused', `${field} ${reason}`);
  }
  if (body.oci_runtime?.includes('/')) {
    const message = `oci_runtime ${JSON.stringify(body.oci_runtime)} is a program of the host; name a runtime of containers.conf`;
    throw new RefusedError('field_refused', message);
  }
  const annotation = Object.keys(body.annotations ?? {}).find((key) => RUNTIME_ANNOTATION.test(key));
  if (annotation === undefined) return;
  const message = `annotation ${JSON.stringify(annotation)} tells the OCI runtime to use programs or files of the host`;
  throw new RefusedError('field_refused', message);
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
