import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readContainersConf } from '../../../src/gate/containers-conf.ts';
import type { CreateBody } from '../../../src/gate/create-body.ts';
import { refuseUnjoinable } from '../../../src/gate/join-netns.ts';
import { readConfAsUser } from '../../../src/linux/read-as-user.ts';
import { longestStepOf } from '../../support/longest-step.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'nomad-rootless-home-'));
  mkdirSync(join(home, '.config/containers/containers.conf.d'), { recursive: true });
});
afterEach(() => rmSync(home, { recursive: true }));

/** Nobody serves the socket, so that no environment counts. */
const user = () => ({
  name: 'alice',
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  home,
  socket: join(home, 'none.sock'),
});
const write = (file: string, text: string) => writeFileSync(join(home, '.config/containers', file), text);
const NONE = '[containers]\ndefault_sysctls = []\n';

describe("a user's containers.conf", () => {
  test('takes the place of what the host says', async () => {
    write('containers.conf', '[containers]\nuserns = "auto"\ndefault_sysctls = ["net.ipv4.ping_group_range=0 0"]\n');
    const { userns, defaultSysctls } = await readContainersConf(user());
    expect({ userns, defaultSysctls }).toEqual({
      userns: 'auto',
      defaultSysctls: ['net.ipv4.ping_group_range=0 0'],
    });
  });

  test('is read with its drop-ins, in the order of their names, which win', async () => {
    write('containers.conf', '[containers]\ndefault_sysctls = ["net.a=1"]\n');
    write('containers.conf.d/20.conf', '[containers]\ndefault_sysctls = ["net.c=3", { append = true }]\n');
    write('containers.conf.d/10.conf', '[containers]\ndefault_sysctls = ["net.b=2"]\n');
    write('containers.conf.d/30.txt', '[containers]\ndefault_sysctls = ["net.d=4"]\n');
    expect((await readContainersConf(user())).defaultSysctls).toEqual(['net.b=2', 'net.c=3']);
  });

  test('is the one that the environment of the process names which serves the socket', async () => {
    const [socket, file] = [join(home, 'podman.sock'), join(home, 'own.conf')];
    writeFileSync(file, '[containers]\nuserns = "keep-id"\n');
    write('containers.conf', '[containers]\nuserns = "auto"\n');
    const serve = 'require("node:net").createServer().listen(process.argv[1], () => console.log("listening"))';
    const server = spawn(process.execPath, ['-e', serve, socket], { env: { CONTAINERS_CONF: file } });
    await once(server.stdout, 'data');
    expect((await readContainersConf({ ...user(), socket })).userns).toBe('keep-id');
    server.kill();
    await once(server, 'exit');
    expect((await readContainersConf({ ...user(), socket })).userns).toBe('auto');
  });

  test('of a MiB of dotted keys is refused before anybody has waited for it', async () => {
    const keys = Array.from({ length: 60_000 }, (_, index) => `b${index}.c=1`).join();
    write('containers.conf', `a={${keys}}\n`);
    expect(await longestStepOf(() => readContainersConf(user()))).toBeLessThan(200);
    await expect(readContainersConf(user())).rejects.toMatchObject({ code: 'containers_conf' });
  });

  test('is taken however many comments are in it', async () => {
    write('containers.conf', `${'# what it is for\n\n'.repeat(10_000)}${NONE}`);
    expect((await readContainersConf(user())).defaultSysctls).toEqual([]);
  });

  test('of very many lines does not keep the agent busy for seconds', async () => {
    const directory = mkdtempSync('/tmp/c');
    const file = join(directory, '.conf');
    writeFileSync(file, 'x\n'.repeat(40_000));
    const texts = await readConfAsUser(user(), [file]);
    rmSync(directory, { recursive: true });
    expect(texts.get(file)).toHaveLength(79_999);
  });

  test('that is none is told of by its name', async () => {
    write('containers.conf', '[containers\n');
    await expect(readContainersConf(user())).rejects.toMatchObject({
      code: 'containers_conf',
      message: /\.config\/containers\/containers\.conf is not a valid containers\.conf/,
    });
  });
});

describe('a container that joins the netns of its group', () => {
  const target = {
    allocationId: '11111111-2222-3333-4444-555555555555',
    task: 't',
    joinsNetns: true,
    mounts: [],
    volumes: [],
  };
  const refuse = (body: Partial<CreateBody>) => refuseUnjoinable({ name: 't-1', ...body }, target, user());

  test.each(['auto', 'keep-id', 'nomap'])(
    'with userns "%s" is refused while Podman has kernel parameters of the network to set, with the remedy',
    async (nsmode) => {
      write('containers.conf', '[containers]\ndefault_sysctls = ["net.ipv4.ping_group_range=0 0"]\n');
      await expect(refuse({ userns: { nsmode } })).rejects.toMatchObject({
        code: 'netns_sysctls',
        message: /net\.ipv4\.ping_group_range.*default_sysctls = \[\]/,
        retryable: false,
      });
      write('containers.conf', NONE);
      await refuse({ userns: { nsmode } });
    },
  );

  test('with a userns that containers.conf sets is refused likewise', async () => {
    write('containers.conf', '[containers]\nuserns = "keep-id:uid=1000"\ndefault_sysctls = ["net.x=1"]\n');
    await expect(refuse({})).rejects.toMatchObject({ code: 'netns_sysctls', message: /keep-id/ });
    await refuse({ userns: { nsmode: 'host' } });
  });

  test('in the user namespace of Podman may have kernel parameters of the network', async () => {
    write('containers.conf', '[containers]\ndefault_sysctls = ["net.x=1"]\n');
    await refuse({ userns: {}, sysctl: { 'net.ipv4.ip_forward': '1' } });
  });

  test("with parameters of the job's own is refused too, other parameters than the network's are not", async () => {
    write('containers.conf', NONE);
    const sysctl = { 'net.ipv4.ip_forward': '1' };
    await expect(refuse({ userns: { nsmode: 'auto' }, sysctl })).rejects.toMatchObject({ message: /net\.ipv4\.ip_f/ });
    await refuse({ userns: { nsmode: 'auto' }, sysctl: { 'kernel.shmmax': '1' } });
  });
});
