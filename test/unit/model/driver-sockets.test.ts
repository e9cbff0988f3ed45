import { describe, expect, test } from 'vitest';
import { driverSocketWarnings, type ServedUsers } from '../../../src/model/driver-sockets.ts';

const GATES = '/run/nomad-rootless/gate';
const OWN = { alice: '/run/user/1001/podman/podman.sock', bob: '/run/user/1002/podman/podman.sock' };

function warnings(sockets: Readonly<Record<string, string>>, served: Partial<ServedUsers> = {}): string[] {
  const list = Object.entries(sockets).map(([name, path]) => ({ name, path }));
  return driverSocketWarnings(list, { gateDir: GATES, podmanSockets: new Map(Object.entries(OWN)), ...served });
}

const FITTING = { alice: `${GATES}/alice.sock`, bob: `${GATES}/bob.sock` };

describe("the driver's sockets", () => {
  test("fit where each user has one, whatever else there is of the operator's", () => {
    expect(warnings(FITTING)).toEqual([]);
    expect(warnings({ ...FITTING, default: '/run/podman/podman.sock' })).toEqual([]);
    expect(warnings({ other: FITTING.alice, bob: FITTING.bob })).toEqual([]);
  });

  test('fit in whatever way a path is written', () => {
    expect(warnings({ ...FITTING, alice: '/var/run/nomad-rootless//gate/alice.sock' })).toEqual([]);
    expect(warnings(FITTING, { gateDir: '/var/run/nomad-rootless/gate/' })).toEqual([]);
  });

  test('that have a typo are named, with whom no socket leads to then', () => {
    expect(warnings({ ...FITTING, alice: `${GATES}/alcie.sock` })).toEqual([
      `socket "alice" of the podman driver is ${GATES}/alcie.sock, where no gate is: correct socket_path in Nomad's configuration, or add the user to users in nomad-rootless's (configured: alice, bob)`,
      `no socket of the podman driver leads to ${GATES}/alice.sock, so that no task can run as alice: in plugin "nomad-driver-podman" of Nomad's configuration socket "alice" is ${GATES}/alcie.sock; set socket_path = "unix://${GATES}/alice.sock", and restart Nomad`,
    ]);
  });

  test('in a directory beside that of the gates are not ours', () => {
    expect(warnings({ ...FITTING, x: `${GATES}s/x.sock` })).toEqual([]);
    expect(warnings({ ...FITTING, x: `${GATES}/../x.sock` })).toEqual([]);
  });

  test('that lack a user say which block to add', () => {
    expect(warnings({ alice: FITTING.alice })).toEqual([
      expect.stringContaining(`add socket { name = "bob" socket_path = "unix://${GATES}/bob.sock" }`),
    ]);
  });

  test("that lead past a gate are named: to a configured user's own Podman, not to somebody else's", () => {
    expect(warnings({ ...FITTING, direct: OWN.alice })).toEqual([
      expect.stringContaining("alice's own Podman: without the gate"),
    ]);
    expect(warnings({ ...FITTING, carol: '/run/user/1003/podman/podman.sock' })).toEqual([]);
    const unknown = new Map<string, string | undefined>([
      ['alice', undefined],
      ['bob', OWN.bob],
    ]);
    expect(warnings({ ...FITTING, direct: OWN.alice }, { podmanSockets: unknown })).toEqual([]);
  });

  test("that have one user's name and lead to another's are named", () => {
    expect(warnings({ alice: FITTING.bob, a: FITTING.alice, b: FITTING.bob })).toEqual([
      expect.stringContaining(`socket "alice" of the podman driver is ${GATES}/bob.sock, which is bob's`),
    ]);
  });

  test('that are not there at all are told of in one line', () => {
    expect(warnings({})).toEqual([expect.stringContaining('no task can run as alice, bob')]);
    expect(warnings({}, { podmanSockets: new Map() })).toEqual([]);
  });

  test("lead to the users' own Podmans where there are no gates", () => {
    expect(warnings(OWN, { gateDir: undefined })).toEqual([]);
    expect(warnings({ alice: OWN.alice }, { gateDir: undefined })).toEqual([expect.stringContaining(OWN.bob)]);
    const unknown = new Map<string, string | undefined>([['alice', undefined]]);
    expect(warnings({ x: '/run/podman/podman.sock' }, { gateDir: undefined, podmanSockets: unknown })).toEqual([]);
  });
});
