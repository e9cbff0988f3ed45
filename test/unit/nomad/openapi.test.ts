import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { eventLines, fixture, jsonFixture } from '../../support/nomad-fixture.ts';

const spec = parse(readFileSync(new URL('../../../openapi/nomad.yaml', import.meta.url), 'utf8'));
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true });
ajv.addVocabulary(['openapi', 'info', 'servers', 'security', 'paths', 'components']);
ajv.addSchema(spec, 'nomad.yaml');

/** What is wrong with a document by a schema of the spec, one line each; empty when it is valid. */
function problems(schema: string, document: unknown): string[] {
  const validate = ajv.getSchema(`nomad.yaml#/components/schemas/${schema}`);
  if (!validate) throw new Error(`no schema ${schema} in nomad.yaml`);
  validate(document);
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

describe('the OpenAPI document', () => {
  test.each([
    ['AgentSelf', 'agent-self.json'],
    ['Node', 'node.json'],
    ['Job', 'job-api.json'],
    ['Allocation', 'allocation-api.json'],
    ['Allocation', 'allocation-host-volume.json'],
    ['Allocation', 'allocation-lifecycle-tasks.json'],
    ['Allocation', 'allocation-web.json'],
  ])('describes as %s what Nomad sent in %s', (schema, file) => {
    expect(problems(schema, jsonFixture(file))).toEqual([]);
  });

  test('describes every allocation of the recorded listing', () => {
    const listing: unknown[] = JSON.parse(fixture('node-allocations.json'));
    expect(listing.length).toBeGreaterThan(0);
    expect(listing.flatMap((allocation) => problems('Allocation', allocation))).toEqual([]);
  });

  test('describes every line of the recorded event stream', () => {
    const lines = eventLines();
    expect(lines.length).toBeGreaterThan(10);
    expect(lines.flatMap((line) => problems('EventBatch', JSON.parse(line)))).toEqual([]);
  });

  test.each([
    ['a missing field', { ModifyIndex: undefined }, "must have required property 'ModifyIndex'"],
    ['a number for a text', { Namespace: 7 }, '/Namespace must be string'],
    ['an unknown status', { ClientStatus: 'asleep' }, '/ClientStatus must be equal to one of the allowed values'],
    ['an id that is none', { ID: '../../etc' }, '/ID must match pattern'],
    [
      'meta that is no text',
      { Job: { ID: 'web', Namespace: 'default', TaskGroups: [], Meta: { a: 1 } } },
      '/Job/Meta/a',
    ],
  ])('refuses an allocation with %s', (_, change, problem) => {
    const broken = JSON.parse(JSON.stringify({ ...jsonFixture('allocation-web.json'), ...change }));
    expect(problems('Allocation', broken).join('\n')).toContain(problem);
  });

  test('refuses a batch of events without an index', () => {
    expect(problems('EventBatch', { Events: [] })).toEqual([
      ' must have property Index when property Events is present',
    ]);
  });
});
