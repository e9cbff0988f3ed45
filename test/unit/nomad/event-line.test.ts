import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { readEventLine } from '../../../src/nomad/event-line.ts';
import { eventLines, NODE_ID } from './fixture.ts';

const OTHER_NODE = '35ef367e-8026-c171-16fa-c405e00b640b';
const ID = 'b519e830-0484-96a5-d371-a196fadb11f3';

function lineOf(allocation: object, index = 7): string {
  const event = { Index: index, Key: ID, Payload: { Allocation: allocation }, Topic: 'Allocation', Type: 'PlanResult' };
  return JSON.stringify({ Events: [event], Index: index });
}

describe('a line of the event stream', () => {
  test('names the allocations of this node that Nomad names, and its index, for every recorded line', () => {
    for (const line of eventLines()) {
      const batch = JSON.parse(line);
      const events: { Topic: string; Key: string }[] = batch.Events ?? [];
      const ids = events.filter(({ Topic }) => Topic === 'Allocation').map(({ Key }) => Key);
      expect(readEventLine(line, NODE_ID)).toEqual({ index: batch.Index, allocationIds: ids });
    }
  });

  test('of another node gives its index only', () => {
    expect(readEventLine(lineOf({ ID, NodeID: OTHER_NODE }, 12), NODE_ID)).toEqual({ index: 12, allocationIds: [] });
  });

  test('that names this node in passing is not about it', () => {
    const scored = { ID, NodeID: OTHER_NODE, Metrics: { ScoreMetaData: [{ NodeID: NODE_ID }] } };
    expect(readEventLine(lineOf(scored), NODE_ID).allocationIds).toEqual([]);
  });

  test('is a heartbeat when it is empty', () => {
    expect(readEventLine('{}', NODE_ID)).toEqual({ index: undefined, allocationIds: [] });
  });

  test.each([
    ['half a line', lineOf({ ID, NodeID: NODE_ID }).slice(0, -9), 'expected a JSON object'],
    ['text', 'Permission denied', 'expected a JSON object, got "Permission denied"'],
    ['no JSON between braces', `{${NODE_ID}}`, 'expected a JSON object'],
    [
      'an id that is a path',
      lineOf({ ID: '../x', NodeID: NODE_ID }),
      'Payload.Allocation.ID: expected a lower-case UUID',
    ],
    [
      'an event without its allocation',
      lineOf({ NodeID: NODE_ID }),
      'Payload.Allocation.ID: expected string, got nothing',
    ],
  ])('that is %s is refused', (_, line, message) => {
    expect(() => readEventLine(line, NODE_ID)).toThrow(ParseError);
    expect(() => readEventLine(line, NODE_ID)).toThrow(message);
  });

  test('is read or refused, whatever it is, and gives ids only', () => {
    const line = fc.oneof(
      fc.string(),
      fc.json(),
      fc.jsonValue().map((value) => lineOf({ NodeID: NODE_ID, ID: value })),
    );
    fc.assert(
      fc.property(line, (text) => {
        try {
          expect(readEventLine(text, NODE_ID).allocationIds).toEqual([]);
        } catch (error) {
          expect(error).toBeInstanceOf(ParseError);
        }
      }),
    );
  });
});
