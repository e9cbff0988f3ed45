import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../support/agent.ts';
import { untilAtRest } from '../support/cpu-seconds.ts';
import { requires } from '../support/requires.ts';
import { Sandbox } from '../support/sandbox.ts';
import { until } from '../support/until.ts';

const PING = 'GET /v1.0.0/libpod/_ping HTTP/1.1\r\nHost: u\r\n\r\n';
const INSPECT = 'GET /v1.0.0/libpod/containers/abc/json HTTP/1.1\r\nHost: u\r\n\r\n';

requires('root', 'sandbox')('an agent with few descriptors', () => {
  let sandbox: Sandbox;
  let agent: AgentProcess;

  beforeAll(async () => {
    sandbox = new Sandbox();
    for (const name of ['alice', 'bob']) sandbox.addUser(name);
    agent = new AgentProcess(sandbox);
    agent.configure({ nomad: { address: `unix://${sandbox.directory}/none.sock` }, users: { alice: {}, bob: {} } });
    await agent.startUnready();
    await until('the gates are open', async () => (await answerOf('bob')).startsWith('HTTP/1.1'));
  });
  afterAll(async () => {
    await agent?.stop('SIGKILL');
    await sandbox?.dispose();
  });

  /** What a ping at the gate of a user is answered; nothing where it is turned away unheard. */
  async function answerOf(user: string): Promise<string> {
    const socket = connect(agent.gateSocket(user));
    socket.end(PING);
    return await text(socket).catch(() => '');
  }

  test('lives while connections have used them up, at rest, and serves again afterwards', async () => {
    const open = readdirSync(`/proc/${agent.pid}/fd`).length;
    execFileSync('prlimit', ['--pid', String(agent.pid), `--nofile=${open + 30}:${open + 30}`]);
    const hogs: Socket[] = [];
    for (let index = 0; index < 200; index++) {
      const path = [agent.gateSocket('alice'), agent.adminSocket][index % 2] ?? '';
      hogs.push(connect(path).on('error', () => undefined));
      if (index % 3 === 0) hogs.at(-1)?.write(INSPECT);
    }
    await until('they are used up', () => readdirSync(`/proc/${agent.pid}/fd`).length >= open + 29);
    // It looks up the users, and opens what it reads.
    agent.reload();
    await untilAtRest(agent.pid);
    for (const socket of hogs) socket.destroy();
    await until('it serves again', async () => (await answerOf('bob')).startsWith('HTTP/1.1'));
    expect((await agent.command(['status', '--json'])).stdout).toContain('"bob"');
    expect(agent.log.filter((line) => /Unhandled|uncaught|TypeError/i.test(line))).toEqual([]);
  });
});
