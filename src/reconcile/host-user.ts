import { signalAfter } from '../clock.ts';
import { NotYetError } from '../errors.ts';
import { type Account, lookUpAccount } from '../linux/passwd.ts';
import { USER_NOT_LOOKED_UP } from '../resources/podman-namespaces.ts';

/** A user of this host. */
export type HostUser = Account;

const LOOKUP_MS = 5000;

/** What waits for the name service to answer. */
export function notLookedUp(user: string | number, why: string): NotYetError {
  return new NotYetError(USER_NOT_LOOKED_UP, `the account of user ${user} is not known yet: ${why}`);
}

/** A signal for what is asked of the name service: aborted after five seconds, or by this one. */
export function lookUpSignal(closing?: AbortSignal): AbortSignal {
  return AbortSignal.any([signalAfter(LOOKUP_MS), ...(closing ? [closing] : [])]);
}

/** Asks the name service, for five seconds at most. @throws NotYetError `name_service` */
export function lookUpHostUser(user: string | number, closing?: AbortSignal): Promise<Account | undefined> {
  return lookUpAccount(user, lookUpSignal(closing));
}
