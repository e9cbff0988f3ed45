/** glibc's, and musl-utils' on Alpine: root's program, with the NSS modules of this host. */
export const GETENT = '/usr/bin/getent';
/** getent(1), EXIT STATUS: one or more supplied keys could not be found. */
export const NOT_FOUND = 2;
