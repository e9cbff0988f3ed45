import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { readEventLine } from '../../../src/nomad/event-line.ts';
import { eventLines, NODE_ID } from '../../support/nomad-fixture.ts';

const OTHER_NODE = '35ef367e-8026-c171-16fa-c405e00b640b';
const ID = 'b519e830-0484-96a5-d371-a196fadb11f3';

/** What is read of a line whose text this is. */
const read = (text: string) => readEventLine({ bytes: Buffer.from(text), cut: false }, NODE_ID);

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
      expect(read(line)).toEqual({ index: batch.Index, allocationIds: ids, problems: [] });
    }
  });

  test('of another node gives its index only', () => {
    expect(read(lineOf({ ID, NodeID: OTHER_NODE }, 12))).toEqual({ index: 12, allocationIds: [], problems: [] });
  });

  test.each([
    ['last', `{"Events":[EVENT],"Index":12}`, 12],
    ['first', `{"Index":12,"Events":[EVENT]}`, 12],
    ['between others', `{"Events":[EVENT],"Index":12,"More":{"Index":8}}`, 12],
    ['with spaces', `{ "Events": [EVENT], "Index": 12 }`, 12],
    ['not there', `{"Events":[EVENT]}`, undefined],
  ])('of another node is followed by its index, %s', (_, line, index) => {
    const event = '{"Index":7,"Topic":"Allocation","Payload":null}';
    expect(read(line.replace('EVENT', event))).toEqual({ index, allocationIds: [], problems: [] });
  });

  test('that was cut says its index, and that something is lost', () => {
    const bytes = Buffer.from(lineOf({ ID, NodeID: NODE_ID }, 123)).subarray(-64);
    expect(readEventLine({ bytes, cut: true }, NODE_ID)).toMatchObject({
      index: 123,
      allocationIds: [],
      problems: [{ message: /expected a line of a size that can be taken/ }],
    });
  });

  test('names the allocations beside an event that cannot be read, and says that there is one', () => {
    const events = [{ ID: '../x', NodeID: NODE_ID }, { ID, NodeID: NODE_ID }, { NodeID: NODE_ID }].map((allocation) => {
      return { Topic: 'Allocation', Payload: { Allocation: allocation } };
    });
    expect(read(JSON.stringify({ Events: events, Index: 9 }))).toMatchObject({
      index: 9,
      allocationIds: [ID],
      problems: [
        { message: /Payload\.Allocation\.ID: expected a lower-case UUID/ },
        { message: /Payload\.Allocation\.ID: expected string, got nothing/ },
      ],
    });
  });

  test('that names this node in passing is not about it', () => {
    const scored = { ID, NodeID: OTHER_NODE, Metrics: { ScoreMetaData: [{ NodeID: NODE_ID }] } };
    expect(read(lineOf(scored)).allocationIds).toEqual([]);
  });

  test('is a heartbeat when it is empty', () => {
    expect(read('{}')).toEqual({ index: undefined, allocationIds: [], problems: [] });
  });

  test.each([
    ['half a line', lineOf({ ID, NodeID: OTHER_NODE }).slice(0, -9), 'expected a JSON object'],
    ['text', 'Permission denied', 'expected a JSON object, got "Permission denied"'],
    ['nothing', '', 'expected a JSON object, got ""'],
    ['no JSON between braces', `{${OTHER_NODE}}`, 'expected a JSON object'],
  ])('that is %s is refused', (_, line, message) => {
    expect(() => read(line)).toThrow(ParseError);
    expect(() => read(line)).toThrow(message);
  });

  test.each([
    ['half a line', lineOf({ ID, NodeID: NODE_ID }).slice(0, -9)],
    ['no JSON between braces', `{${NODE_ID}}`],
    ['a list', JSON.stringify([NODE_ID])],
  ])('that is %s and names this node may have been about it', (_, line) => {
    expect(read(line)).toMatchObject({ index: undefined, allocationIds: [], problems: [expect.any(ParseError)] });
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
          expect(read(text).allocationIds).toEqual([]);
        } catch (error) {
          expect(error).toBeInstanceOf(ParseError);
        }
      }),
    );
  });
});
