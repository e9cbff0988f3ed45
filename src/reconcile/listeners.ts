/** Who waits for something that is told to all of them at once. */
export type Listeners<T> = Set<(value: T) => void>;

/**
 * Resolves with what is told next. @param cause called once it is listened for
 * @throws the signal's reason
 */
export function nextTold<T>(
  listeners: Listeners<T>,
  signal: AbortSignal,
  cause: () => void = () => undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => {
      listeners.delete(onTold);
      reject(signal.reason);
    };
    const onTold = (value: T) => {
      signal.removeEventListener('abort', onAbort);
      resolve(value);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    listeners.add(onTold);
    cause();
  });
}
