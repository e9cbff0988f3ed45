import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { requireOwnNode } from '../../../src/agent/node-identity.ts';
import { NotYetError } from '../../../src/errors.ts';
import { parseAgentSelf } from '../../../src/nomad/agent-self.ts';
import { jsonFixture, NODE_ID } from '../../support/nomad-fixture.ts';

const ADDRESS = 'https://nomad.example:4646';
const OTHER = '35ef367e-8026-c171-16fa-c405e00b640b';

function selfWith(clientId: string | undefined) {
  const stateDir = mkdtempSync(join(tmpdir(), 'nomad-client-'));
  onTestFinished(() => rmSync(stateDir, { recursive: true }));
  if (clientId !== undefined) writeFileSync(join(stateDir, 'client-id'), clientId);
  return { ...parseAgentSelf(jsonFixture('agent-self.json')), stateDir };
}

test.each([
  ['names the node that Nomad says it is', NODE_ID],
  ['names it with a newline', `${NODE_ID}\n`],
  ['is not there', undefined],
  ['holds no id', 'half a'],
])('the node is ours where the client-id of this machine %s', (_, clientId) => {
  expect(() => requireOwnNode(selfWith(clientId), ADDRESS)).not.toThrow();
});

test('an agent of another node is not followed, and the message says how to find ours', () => {
  const self = selfWith(OTHER);
  const call = () => requireOwnNode(self, ADDRESS);
  expect(call).toThrow(NotYetError);
  expect(call).toThrow(`Nomad at ${ADDRESS} is node ${NODE_ID}, but ${self.stateDir}/client-id`);
  expect(call).toThrow(`this machine is node ${OTHER}: set nomad.address to the agent on this machine`);
});
