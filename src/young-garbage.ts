import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { readonly type: 'minor' }) => void;

let collect: Collect | undefined;

/**
 * Collects the garbage of V8's young generation, which takes a fraction of a millisecond. Bytes that were read lie
 * outside of the heap, held by small objects in it: V8 counts the bytes, finds them to be many while there is hardly
 * anything in the young generation, and goes through the whole heap to be rid of them.
 */
export function collectYoungGarbage(): void {
  collect ??= exposed();
  collect({ type: 'minor' });
}

/** The function is there for contexts that are made after the flag was set, and so for no other code here. */
function exposed(): Collect {
  setFlagsFromString('--expose-gc');
  const gc: Collect = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  return gc;
}
