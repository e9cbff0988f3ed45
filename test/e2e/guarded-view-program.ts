/**
 * The attacks of guarded-view-attacker.ts, in Python, since Node knows neither dir_fd nor SCM_RIGHTS. Each attempt is a line
 * of JSON. As a container's root where not said otherwise: `podman unshare` gives what a container's root has, and more.
 */
export const PROGRAM = String.raw`
import array, ctypes, errno, json, os, resource, socket, sys, time

O_PATH, CLONE_NEWNS, MNT_DETACH, MS_BIND, MS_REMOUNT = 0o10000000, 0x20000, 2, 4096, 32
libc = ctypes.CDLL(None, use_errno=True)
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
given = json.loads(sys.argv[2])

def tell(**attempt):
    os.write(1, (json.dumps(attempt) + '\n').encode())

def outcome(act):
    try:
        return 'ok', act()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno)), None

def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), 'failed')

def become(id):
    if id == 'host':
        return
    os.setgroups([])
    os.setresgid(id, id, id)
    os.setresuid(id, id, id)

def wait_for(child):
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        sys.exit('a child has ended with ' + str(status))

def forked(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    return child

# Descriptors go over a unix socket, 200 a message; the labels come along.
def send(sock, handles):
    for at in range(0, len(handles), 200):
        part = handles[at:at + 200]
        labels = json.dumps([label for label, _ in part]).encode()
        sock.send(len(labels).to_bytes(4, 'big'))
        sock.sendall(labels)
        sock.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd for _, fd in part]))])
    sock.send((0).to_bytes(4, 'big'))

def exactly(sock, length):
    data = b''
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise EOFError()
        data += more
    return data

def receive(sock):
    handles = []
    while True:
        length = int.from_bytes(exactly(sock, 4), 'big')
        if length == 0:
            return handles
        labels = json.loads(exactly(sock, length))
        _, ancillary, _, _ = sock.recvmsg(1, 4 * 253 + 64)
        fds = array.array('i')
        for _, _, data in ancillary:
            fds.frombytes(data[:len(data) - len(data) % 4])
        handles += zip(labels, fds)

# What is opened for one act is closed with it: it holds hundreds of directories open as it is.
def opened(path, flags, act, **where):
    fd = os.open(path, flags, **where)
    try:
        return act(fd)
    finally:
        os.close(fd)

def names_in(fd):
    return opened('.', os.O_RDONLY | os.O_DIRECTORY, os.listdir, dir_fd=fd)

serial = 0
# A name that nobody has used.
def names():
    global serial
    serial += 1
    return 'probe-%d-%d' % (os.getpid(), serial)

def read_all(fd):
    seen = ''
    for name in names_in(fd):
        if name == given.get('run'):
            continue
        read = lambda file: os.read(file, 200)
        result, text = outcome(lambda: opened(name, os.O_RDONLY | os.O_NONBLOCK, read, dir_fd=fd))
        seen += name + ': ' + (repr(text) if result == 'ok' else result) + '; '
    return seen

def rename_all(fd):
    entries = names_in(fd)
    results = [outcome(lambda: os.rename(name, name + '.moved', src_dir_fd=fd, dst_dir_fd=fd))[0]
               for name in entries if not name.startswith('probe-') and name != given.get('run')]
    for result in results:
        if result != 'ok':
            raise OSError(getattr(errno, result, 0), 'rename')

def up(fd):
    opened('..', O_PATH | os.O_DIRECTORY, lambda above: os.symlink(given['victim'], names(), dir_fd=above), dir_fd=fd)

def run(fd):
    return opened(given['run'], O_PATH, execute, dir_fd=fd)

def execute(program):
    output, input = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(input, 1)
        os.set_inheritable(program, True)
        try:
            os.execve(program, ['id', '-u'], {})
        except OSError as error:
            os.write(1, errno.errorcode[error.errno].encode())
        os._exit(0)
    os.close(input)
    os.waitpid(child, 0)
    said = os.read(output, 100).decode().strip()
    os.close(output)
    return said

ACTS = {
    'symlink': lambda fd: os.symlink(given['victim'], names(), dir_fd=fd),
    'file': lambda fd: os.close(os.open(names(), os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=fd)),
    'directory': lambda fd: os.mkdir(names(), dir_fd=fd),
    'fifo': lambda fd: os.mkfifo(names(), dir_fd=fd),
    'rename': rename_all,
    'up': up,
    'read': read_all,
}

# What an id that may not walk to a directory can reach from a handle on one above it.
def descended(handles):
    all = list(handles)
    known = set(label for label, _ in handles)
    for label, fd in all:
        door, opener = label
        if door.count('/') > 3 + min(door.count('/') for (door, _), _ in handles):
            continue
        listed, names = outcome(lambda: names_in(fd))
        for name in names if listed == 'ok' else ['alloc', 'logs', 'data', 'tmp', 'local', 'secrets', 'private']:
            below = (door + '/' + name, opener)
            if below in known or name.startswith('probe-'):
                continue
            result, found = outcome(lambda: os.open(name, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd))
            if result == 'ok':
                known.add(below)
                all.append((below, found))
    return all

def act_on(given_handles, actor, via):
    handles = descended([(tuple(label), fd) for label, fd in given_handles])
    for (door, opener), fd in handles:
        for name, act in {**ACTS, **({'run': run} if given.get('run') else {})}.items():
            if via == 'cwd':
                result, seen = outcome(lambda: os.fchdir(fd))
                if result == 'ok':
                    here = os.open('.', O_PATH)
                    result, seen = outcome(lambda: act(here))
                    os.close(here)
            else:
                result, seen = outcome(lambda: act(fd))
            tell(door=door, opener=opener, actor=actor, via=via, act=name, outcome=result, seen=seen or '')

# The directories that can be listed, from the doors down, and the root directories of all processes that may be entered.
def find_doors():
    found = []
    for door in given['doors']:
        found.append(door)
        for path, directories, _ in os.walk(door):
            if path.count('/') - door.count('/') > 3:
                directories.clear()
            found += [os.path.join(path, name) for name in directories if not name.startswith('probe-')]
    for pid in os.listdir('/proc'):
        for name in ('secrets', 'local', 'alloc', 'alloc/logs', 'alloc/data', 't'):
            path = '/proc/%s/root/%s' % (pid, name)
            if pid.isdigit() and os.path.isdir(path):
                found.append(path)
    return list(dict.fromkeys(found))

def open_doors(doors, opener):
    handles = []
    for door in doors:
        for flags in (O_PATH, os.O_RDONLY):
            result, fd = outcome(lambda: os.open(door, flags | os.O_DIRECTORY))
            if result == 'ok':
                handles.append(((door, opener), fd))
        if result != 'ok':
            tell(door=door, opener=opener, actor=opener, via='handle', act='open', outcome=result)
    return handles

def opened_as(id, doors):
    mine, theirs = socket.socketpair()
    def work():
        become(id)
        send(theirs, open_doors(doors, id))
    child = forked(work)
    handles = receive(mine)
    wait_for(child)
    return handles

# In a mount namespace of her own, where she takes away what she can of what covers the doors, and opens it for writing.
def uncovered():
    check(libc.unshare(CLONE_NEWNS))
    mounts = [line.split()[4] for line in open('/proc/self/mountinfo')]
    covering = [mount for mount in mounts if any(mount.startswith(door) or door.startswith(mount + '/')
                                                 for door in given['doors']) and mount != '/']
    for mount in reversed(covering):
        result, _ = outcome(lambda: check(libc.mount(None, mount.encode(), None, MS_REMOUNT | MS_BIND, None)))
        tell(door=mount, opener=0, actor=0, via='uncovered', act='remount', outcome=result)
    doors = find_doors()
    handles = open_doors(doors, 0)
    for mount in reversed(covering):
        result, _ = outcome(lambda: check(libc.umount2(mount.encode(), MNT_DETACH)))
        tell(door=mount, opener=0, actor=0, via='uncovered', act='unmount', outcome=result)
    handles += open_doors(find_doors(), 0)
    for actor in given['ids']:
        wait_for(forked(lambda: (become(actor), act_on(handles, actor, 'uncovered'))))

def sweep():
    doors = find_doors()
    handles = [handle for id in given['ids'] for handle in opened_as(id, doors)]
    for actor in given['ids']:
        for via in ('handle', 'cwd'):
            wait_for(forked(lambda: (become(actor), act_on(handles, actor, via))))
        mine, theirs = socket.socketpair()
        def elsewhere():
            check(libc.unshare(CLONE_NEWNS))
            become(actor)
            act_on(receive(theirs), actor, 'passed')
        child = forked(elsewhere)
        send(mine, handles)
        wait_for(child)
    wait_for(forked(uncovered))
    host = socket.socket(socket.AF_UNIX)
    for _ in range(200):
        if outcome(lambda: host.connect(given['socket']))[0] == 'ok':
            break
        time.sleep(0.05)
    send(host, handles)

def host():
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(given['socket'])
    listening.listen()
    own = open_doors(given['doors'], 'host')
    act_on(own, 'host', 'handle')
    connection, _ = listening.accept()
    act_on(receive(connection), 'host', 'host')

def race():
    end = time.time() + given['seconds']
    os.close(os.open(given['ready'], os.O_CREAT | os.O_WRONLY))
    opened = 'ENOENT'
    while time.time() < end:
        opened, fd = outcome(lambda: os.open(given['directory'], O_PATH | os.O_DIRECTORY))
        if opened == 'ok':
            break
    if opened != 'ok':
        return print('open: ' + opened)
    os.fchdir(fd)
    become(given['ids'][2])
    by_handle = by_cwd = beside = ''
    while time.time() < end and 'ok' not in (by_handle, by_cwd):
        by_handle, _ = outcome(lambda: os.symlink(given['victim'], given['name'], dir_fd=fd))
        by_cwd, _ = outcome(lambda: os.symlink(given['victim'], given['name']))
        # Of a name that is there already the kernel says so first, whether or not one could be made.
        beside, _ = outcome(lambda: os.symlink(given['victim'], names(), dir_fd=fd))
        if beside == 'ok' or by_handle == 'EEXIST':
            break
    print('handle: ' + by_handle + ', cwd: ' + by_cwd + ', beside: ' + beside)

# From a mount namespace of her own, in which nothing is mounted any more in the directory that she holds.
def replace():
    check(libc.unshare(CLONE_NEWNS))
    held = os.open(given['directory'], O_PATH | os.O_DIRECTORY)
    above = given['directory']
    while above != '/':
        outcome(lambda: check(libc.umount2(above.encode(), MNT_DETACH)))
        above = os.path.dirname(above)
    for name, target in given['names'].items():
        moved, _ = outcome(lambda: os.rename(name, 'old-' + name, src_dir_fd=held, dst_dir_fd=held))
        outcome(lambda: os.mkdir(name, dir_fd=held))
        for link, to in target.items():
            outcome(lambda: os.symlink(to, name + '/' + link, dir_fd=held))
        print(name + ': ' + moved)

{'replace': replace, 'sweep': sweep, 'host': host, 'race': race}[sys.argv[1]]()
`;
