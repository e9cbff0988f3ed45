import { InstalledAgent, UNIT } from './installed-agent.ts';
import { Machine } from './machine.ts';
import { type MachineNomad, NOMAD_UNIT } from './machine-nomad.ts';
import { MachineRealNomad } from './machine-real-nomad.ts';
import { MachineStandIn } from './machine-stand-in.ts';
import { configurePodman, MachineUser } from './machine-user.ts';
import { partsOf, RUN_DIRECTORY } from './run-parts.ts';

/** The users of a machine. */
export type UserName = 'alice' | 'bob';

/** The agent's configuration in a machine, as its YAML file has it. */
export const CONFIG = { users: { alice: {}, bob: {} } };

/** Where the gates of the users are: for the driver's socket blocks, and for who asks them. */
export const GATES: Readonly<Record<UserName, string>> = {
  alice: '/run/nomad-rootless/gate/alice.sock',
  bob: '/run/nomad-rootless/gate/bob.sock',
};

/** A machine with users, the agent and Nomad, each as its unit runs it. */
export interface MachineEnvironment extends AsyncDisposable {
  readonly machine: Machine;
  readonly users: Readonly<Record<UserName, MachineUser>>;
  readonly agent: InstalledAgent;
  readonly nomad: MachineNomad;
}

/** Boots a machine, installs all of it as the README says, and starts it. @param install how the agent gets there */
export async function startMachineEnvironment(
  install: typeof InstalledAgent.install = InstalledAgent.install,
): Promise<MachineEnvironment> {
  if (RUN_DIRECTORY === undefined) throw new Error('a machine needs what `npm run test:systemd` makes');
  await using stack = new AsyncDisposableStack();
  const shown = MachineRealNomad.shown();
  const machine = stack.use(await Machine.create({ ...partsOf(RUN_DIRECTORY), ...(shown ? { shown } : {}) }));
  await machine.boot();
  await configurePodman(machine);
  const [alice, bob] = await Promise.all([MachineUser.add(machine, 'alice'), MachineUser.add(machine, 'bob')]);
  const agent = await install(machine, CONFIG);
  const nomad = shown ? new MachineRealNomad(machine) : new MachineStandIn(machine);
  await nomad.install(GATES);
  // As a boot starts them: both at once, in the order that the units ask for.
  await machine.mustRun(['systemctl', 'start', UNIT, NOMAD_UNIT]);
  await nomad.waitUntilUp();
  await agent.waitUntilReady();
  const all = stack.move();
  return { machine, users: { alice, bob }, agent, nomad, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
