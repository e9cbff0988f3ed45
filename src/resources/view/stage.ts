import { type Handle, openAbsolute, openAbsoluteIfThere } from '../../linux/handle.ts';
import { O } from '../../linux/libc.ts';
import { attach, makeDirectory, PROPAGATION, setMountAttributes, unmountIn } from '../../linux/mount.ts';
import { stat } from '../../linux/stat.ts';

/** A directory of the view namespace where something is mounted for a moment, to be passed on whole. */
const STAGE = 'stage';

/** Mounts a detached mount on the stage, in the view namespace. @returns its root; close it @throws SyscallError */
export function stage(mount: Handle): Handle {
  using root = openAbsolute('/');
  makeDirectory(root, STAGE, 0o700);
  using below = openStage();
  attach(mount, below);
  return openStage();
}

/** What is seen on the stage, in the view namespace. @throws SyscallError */
export function openStage(): Handle {
  return openAbsolute(`/${STAGE}`, O.PATH | O.DIRECTORY);
}

/**
 * Takes everything off the stage, also what a killed agent left there. In the view namespace. Made private first: unmounting is
 * passed on as well, to the users' mount namespaces and to their trees themselves.
 * @throws SyscallError
 */
export function clearStage(): void {
  using root = openAbsolute('/');
  for (;;) {
    using staged = openAbsoluteIfThere(`/${STAGE}`, O.PATH | O.DIRECTORY);
    if (!staged || !stat(staged).isMountRoot) return;
    setMountAttributes(staged, 0, PROPAGATION.PRIVATE);
    unmountIn(root, STAGE);
  }
}
