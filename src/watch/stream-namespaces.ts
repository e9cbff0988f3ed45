/**
 * The namespaces in which allocations of this node were seen. Nomad tells of those that there were when an event stream was opened
 * (validateACL in its nomad/event_endpoint.go): for one that may be newer the stream is opened afresh.
 */
export class StreamNamespaces {
  /** The default one is always there. */
  readonly #covered = new Set(['default']);
  #onNew: () => void = () => undefined;

  /** An allocation was seen in this namespace: the event stream has to tell of it. */
  cover(namespace: string): void {
    if (this.#covered.has(namespace)) return;
    this.#covered.add(namespace);
    this.#onNew();
  }

  /** From now on this is called for each new one, in place of what was before. */
  onNew(listener: () => void): void {
    this.#onNew = listener;
  }
}
