import { NomadError, NomadUnreachableError } from '@hashicorp/nomad-client-ts';
import { NotYetError, RootlessError } from '../errors.ts';

/** The rights that requests need, in the words of an ACL policy. */
export const AGENT_READ = 'agent { policy = "read" }';
export const NODE_READ = 'node { policy = "read" }';
export const READ_JOB = 'namespace "*" { capabilities = ["read-job"] }';

/** One of them. */
export type Right = typeof AGENT_READ | typeof NODE_READ | typeof READ_JOB;

/**
 * What a failed request means to us. All of it is retryable: a policy can be mended, a token file renewed, a server
 * elected, without anything changing that we would hear of. What is ours, such as why a connection was not made, comes
 * back as it is, and so does what is not the client's error.
 */
export function failureOf(error: unknown, right: Right): unknown {
  if (error instanceof NomadUnreachableError) {
    if (error.cause instanceof RootlessError) return error.cause;
    return new NotYetError('nomad_unreachable', 'Nomad did not answer', error);
  }
  if (!(error instanceof NomadError)) return error;
  if (isDenied(error)) {
    const message = `Nomad refused ${error.path} (${error.status} ${error.body.slice(0, 200)}): the token is not valid, or its policy lacks: ${right}`;
    return new NotYetError('nomad_denied', message, error);
  }
  return new NotYetError('nomad_error', 'Nomad answered with an error', error);
}

/** Whether Nomad says that there is no such allocation. Any other 404 may come from whatever else listens there. */
export function isNoSuchAllocation(error: unknown): boolean {
  return error instanceof NomadError && error.status === 404 && error.body === 'alloc not found';
}

/**
 * Nomad hides an allocation in a namespace that the token may not read behind a 500, and an expired token behind another
 * (test/fixtures: acl-refusals.txt, acl-mid-stream.txt).
 */
function isDenied({ status, body }: NomadError): boolean {
  return status === 403 || (status === 500 && /^(Unknown allocation|ACL token)/.test(body));
}
