import { createRequire } from 'node:module';

/** Where programs of a user's find koffi. */
export const KOFFI = createRequire(import.meta.url).resolve('koffi');

/**
 * A filesystem of a user's: the directory `data` and the file `file` in its root directory are there; a look-up of `hang` or `libpod`,
 * access(2), chdir(2) or fchdir(2) anywhere unless told to, and read(2) and close(2) of `file` never get an answer. Each of the last three is told on standard output when it comes.
 * There is the socket `socket` too, whose attributes are never told: only its look-up is answered.
 * Descriptor 3 is /dev/fuse. Layouts: include/uapi/linux/fuse.h, 7.31.
 */
export const SERVER = `
const fs = require('node:fs');
const [OP_LOOKUP, OP_FORGET, OP_GETATTR, OP_STATFS, OP_GETXATTR, OP_LISTXATTR] = [1, 2, 3, 17, 22, 23];
const [OP_OPEN, OP_READ, OP_FLUSH] = [14, 15, 25];
const [OP_INIT, OP_OPENDIR, OP_READDIR, OP_RELEASEDIR, OP_ACCESS, OP_INTERRUPT, OP_BATCH_FORGET] = [26, 27, 28, 29, 34, 36, 42];
const LONG = 1000000n;
const FILE = 3n;
const SOCKET = 4n;
const reply = (unique, error, body = Buffer.alloc(0)) => {
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + body.length, 0);
  head.writeInt32LE(error, 4);
  head.writeBigUInt64LE(unique, 8);
  fs.writevSync(3, [Buffer.concat([head, body])]);
};
const attributes = (body, at, ino) => {
  body.writeBigUInt64LE(ino, at);
  body.writeUInt32LE({ [FILE]: 0o100644, [SOCKET]: 0o140777 }[ino] ?? 0o040755, at + 60);
  body.writeUInt32LE(2, at + 64);
  body.writeBigUInt64LE(4096n, at + 8);
  return body;
};
const request = Buffer.alloc(1 << 17);
for (;;) {
  const length = fs.readSync(3, request);
  const op = request.readUInt32LE(4);
  const unique = request.readBigUInt64LE(8);
  const node = request.readBigUInt64LE(16);
  if (op === OP_INIT) {
    const body = Buffer.alloc(64);
    body.writeUInt32LE(7, 0);
    body.writeUInt32LE(31, 4);
    body.writeUInt32LE(65536, 20);
    reply(unique, 0, body);
  } else if (op === OP_LOOKUP) {
    const name = request.toString('utf8', 40, length - 1);
    if (['hang', 'libpod'].includes(name)) continue;
    const node = { data: 2n, file: FILE, socket: SOCKET }[name];
    if (!node) { reply(unique, -2); continue; }
    const body = Buffer.alloc(128);
    body.writeBigUInt64LE(node, 0);
    body.writeBigUInt64LE(LONG, 16);
    body.writeBigUInt64LE(node === SOCKET ? 0n : LONG, 24);
    reply(unique, 0, attributes(body, 40, node));
  } else if (op === OP_GETATTR && node === SOCKET) fs.writeSync(1, 'left waiting\\n');
  else if (op === OP_GETATTR) {
    const body = Buffer.alloc(104);
    body.writeBigUInt64LE(LONG, 0);
    reply(unique, 0, attributes(body, 16, node));
  } else if (op === OP_STATFS) reply(unique, 0, Buffer.alloc(80));
  else if (op === OP_OPENDIR || op === OP_OPEN) reply(unique, 0, Buffer.alloc(16));
  else if (op === OP_READDIR || op === OP_RELEASEDIR) reply(unique, 0);
  else if (op === OP_GETXATTR || op === OP_LISTXATTR) reply(unique, -95);
  else if (op === OP_ACCESS && process.argv[2] === 'answer') reply(unique, 0);
  else if ([OP_READ, OP_FLUSH, OP_ACCESS].includes(op)) fs.writeSync(1, 'left waiting\\n');
  else if (![OP_FORGET, OP_BATCH_FORGET, OP_INTERRUPT].includes(op)) reply(unique, -38);
}
`;

/**
 * A process that listens on a socket and never comes to the end of an execve(2): it closes a file of hers on the way.
 * Whoever looks at it in /proc then waits for it (exec_update_lock): its environ on every kernel, on Linux 6.18.44 also what
 * its ns/, fd/, root and stat say.
 */
export const EXECUTING = `
use IO::Socket::UNIX;
my ($socket, $file) = @ARGV;
unlink $socket;
my $listening = IO::Socket::UNIX->new(Local => $socket, Listen => 50) or die $!;
exit sleep 1000 if fork == 0;
open my $closing, '<', $file or die $!;
exec 'sleep', '1000';
`;

/**
 * A process that asks for a table of iptables-legacy, IPT_SO_GET_ENTRIES, into memory that is a file of hers: the header of
 * the request ends where that begins. The kernel holds the lock of all such tables, of all network namespaces
 * (xt[AF_INET].mutex), while it writes the answer there.
 */
export const HOLDING = `
const { address, as, errno, load } = require('${KOFFI}');
const libc = load('libc.so.6');
const mmap = libc.func('void *mmap(void *, size_t, int, int, int, long)');
const memcpy = libc.func('void *memcpy(void *, void *, size_t)');
const socket = libc.func('int socket(int, int, int)');
const getsockopt = libc.func('int getsockopt(int, int, int, void *, void *)');
const [PAGE, READ_WRITE, PRIVATE, FIXED, ANONYMOUS, HEADER] = [4096, 3, 2, 16, 32, 40];
const memory = BigInt(address(mmap(null, 2 * PAGE, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)));
const file = require('node:fs').openSync(process.argv[2], 'r+');
mmap(as(memory + BigInt(PAGE), 'void *'), PAGE, READ_WRITE, PRIVATE | FIXED, file, 0);
const raw = socket(2, 3, 255);
const sizeOf = (number) => Buffer.from(Uint32Array.of(number).buffer);
const info = Buffer.alloc(84);
info.write('filter');
if (getsockopt(raw, 0, 64, info, sizeOf(84)) !== 0) throw new Error('errno ' + errno());
const header = Buffer.alloc(HEADER);
header.write('filter');
header.writeUInt32LE(info.readUInt32LE(80), 32);
const request = as(memory + BigInt(PAGE - HEADER), 'void *');
memcpy(request, header, HEADER);
getsockopt(raw, 0, 65, request, sizeOf(HEADER + info.readUInt32LE(80)));
`;

/**
 * A process that asks whether lo has a link, ETHTOOL_GLINK, into memory that is a file of hers from the answer on. The
 * kernel holds the lock of all networks (rtnl_lock) while it writes the answer there.
 */
export const HOLDING_NETWORKS = `
const { address, as, load } = require('${KOFFI}');
const libc = load('libc.so.6');
const mmap = libc.func('void *mmap(void *, size_t, int, int, int, long)');
const memcpy = libc.func('void *memcpy(void *, void *, size_t)');
const socket = libc.func('int socket(int, int, int)');
const ioctl = libc.func('int ioctl(int, ulong, void *)');
const [PAGE, READ_WRITE, PRIVATE, FIXED, ANONYMOUS] = [4096, 3, 2, 16, 32];
const memory = BigInt(address(mmap(null, 2 * PAGE, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)));
const file = require('node:fs').openSync(process.argv[2], 'r+');
mmap(as(memory + BigInt(PAGE), 'void *'), PAGE, READ_WRITE, PRIVATE | FIXED, file, 0);
const question = memory + BigInt(PAGE - 4);
memcpy(as(question, 'void *'), Buffer.from(Uint32Array.of(0xa).buffer), 4);
const request = Buffer.alloc(40);
request.write('lo');
request.writeBigUInt64LE(question, 16);
ioctl(socket(2, 2, 0), 0x8946, request);
`;
