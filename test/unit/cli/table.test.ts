import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { renderTable } from '../../../src/cli/table.ts';
import { printable } from '../../../src/printable.ts';

describe('renderTable', () => {
  test('makes columns as wide as their widest cell, without spaces at the end of a line', () => {
    expect(
      renderTable(
        ['A', 'LONG', 'C'],
        [
          ['aaa', 'b', ''],
          ['a', 'b'],
        ],
      ),
    ).toBe('A    LONG  C\naaa  b\na    b\n');
  });

  test('colours after padding, so that colours do not shift the columns', () => {
    const red = (text: string) => `<${text}>`;
    expect(
      renderTable(
        ['A', 'B'],
        [
          [{ text: 'x', paint: red }, 'y'],
          ['xxx', 'y'],
        ],
      ),
    ).toBe('A    B\n<x>    y\nxxx  y\n');
  });

  test('has one line for each row, whatever the cells hold', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string())), (rows) => {
        expect(renderTable(['A', 'B'], rows).split(/[\n\r\u2028\u2029]/)).toHaveLength(rows.length + 2);
      }),
    );
  });
});

describe('printable', () => {
  test('shows what would steer the terminal', () => {
    expect(printable('\u001b[2Jx\r\n\u009b1m\u202e')).toBe('\\x1b[2Jx\\x0d\\x0a\\x9b1m\\u202e');
  });

  test('leaves other texts as they are', () => {
    expect(printable('jöb-1 ✓')).toBe('jöb-1 ✓');
  });
});
