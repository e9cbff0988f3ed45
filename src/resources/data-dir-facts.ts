import { canonicalDirectory } from '../linux/directory.ts';
import { openAbsolute } from '../linux/handle.ts';
import { O } from '../linux/libc.ts';
import { filesystemTypeOf } from '../linux/mount-table.ts';
import type { DataDirFacts } from '../model/checks/nomad.ts';
import { DataDir } from './data-dir.ts';
import { takesAcls } from './marked-acl.ts';

/** What the check of Nomad's data dir goes by. @param paths as Nomad spells them @throws SyscallError where they are not there */
export function dataDirFacts({
  allocDir,
  dataDir,
}: {
  readonly allocDir: string;
  readonly dataDir: string;
}): DataDirFacts {
  const canonical = canonicalDirectory(allocDir);
  using directory = openAbsolute(canonical, O.RDONLY | O.DIRECTORY);
  return {
    path: dataDir,
    allocDir,
    filesystem: filesystemTypeOf(directory),
    takesAcls: takesAcls(directory),
    isRootOnly: new DataDir(canonical, canonicalDirectory(dataDir)).isRootOnly(),
  };
}
