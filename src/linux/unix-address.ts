/** Address family, include/linux/socket.h. */
export const AF_UNIX = 1;
/** struct sockaddr_un, unix(7): the family, then the path. */
export const SOCKADDR_UN_SIZE = 110;
export const PATH_OFFSET = 2;

/**
 * The address of a unix socket, as long as it counts: unix(7). A path that begins with @ is an abstract name, as systemd writes
 * one; a path ends with its NUL.
 */
export function unixAddress(path: string): Buffer {
  const isAbstract = path.startsWith('@');
  const address = Buffer.alloc(PATH_OFFSET + Buffer.byteLength(path) + (isAbstract ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(path, PATH_OFFSET);
  if (isAbstract) address[PATH_OFFSET] = 0;
  return address;
}
