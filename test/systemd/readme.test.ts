import { expect, test } from 'vitest';
import { documentedCommand } from '../support/shell-blocks.ts';
import { InstalledAgent, UNIT } from '../support/systemd/installed-agent.ts';
import { IN_MACHINE } from '../support/systemd/machine.ts';
import { failuresOf, startJob } from './cases.ts';
import { onMachine } from './on-machine.ts';

const DEB = documentedCommand('README.md', 'apt install').replace(/^apt install /, '');
/** Of a user: what a fresh account lacks. Her subordinate ids stay, since her images are on disk with them. */
const TAKE_USER_BACK = `
systemctl --user --machine=$1@ disable --now podman.socket
loginctl disable-linger $1
`;
/** The blocks that setup prints for the driver. */
const BLOCK = /name\s*=\s*"(\w+)"\s+socket_path\s*=\s*"unix:\/\/([^"]+)"/g;

/** In the order of a new operator's day, with the pages' own commands. */
onMachine(
  'who follows the README',
  (environment) => {
    const paste = (command: string) => environment().machine.mustRun(['sh', '-c', `cd /root && ${command}`]);

    test('has a task in four steps: install, setup, paste, restart', async () => {
      const { machine, agent, nomad } = environment();
      await agent.dpkg('--purge', 'nomad-rootless');
      for (const user of ['alice', 'bob']) await machine.mustRun(['sh', '-euc', TAKE_USER_BACK, 'sh', user]);
      await machine.mustRun(['cp', `${IN_MACHINE.bundles}/this.deb`, `/root/${DEB}`]);

      await paste(documentedCommand('README.md', 'apt install'));
      expect((await agent.show('ActiveState')).ActiveState).toBe('inactive');
      expect(await paste(documentedCommand('README.md', 'nomad-rootless setup --dry-run'))).toContain('alice: would ');
      const printed = await paste(documentedCommand('README.md', 'nomad-rootless setup alice'));
      const sockets = Object.fromEntries([...printed.matchAll(BLOCK)].map(([, name, path]) => [name, path ?? '']));
      expect(Object.keys(sockets)).toEqual(['alice', 'bob']);
      await nomad.install(sockets);
      await paste(documentedCommand('README.md', 'systemctl restart nomad'));
      await nomad.waitUntilUp();
      const started = [await startJob(nomad, 'hello-alice', 'alice'), await startJob(nomad, 'hello-bob', 'bob')];
      expect(await failuresOf(started)).toEqual([]);
      await Promise.all(started.map((allocation) => allocation.gc()));
    });

    test('reads the log as the page of operations says', async () => {
      expect(await paste(documentedCommand('docs/operations.md', 'journalctl -u nomad-rootless -p'))).toMatch(/./);
      const all = documentedCommand('docs/operations.md', 'journalctl -u nomad-rootless -o cat').replace(
        'ALLOC',
        'alice',
      );
      expect(await paste(all)).toContain('alice');
    });

    test('takes it away with the commands for an installation of files', async () => {
      const { agent, machine } = environment();
      await paste(documentedCommand('docs/operations.md', 'systemctl disable --now nomad-rootless'));
      await paste(documentedCommand('docs/operations.md', 'systemctl clean'));
      await paste(documentedCommand('docs/operations.md', 'nomad-rootless cleanup --dry-run'));
      await machine.mustRun(['test', '-S', '/run/nomad-rootless/gate/alice.sock']);
      await machine.run(['sh', '-c', documentedCommand('docs/operations.md', 'nomad-rootless cleanup')]);
      expect((await machine.run(['test', '-e', '/run/nomad-rootless/gate/alice.sock'])).code).toBe(1);
      expect((await agent.show('ActiveState')).ActiveState, UNIT).toBe('inactive');
    });
  },
  InstalledAgent.installPackage,
);
