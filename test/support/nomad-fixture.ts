import { readFileSync } from 'node:fs';

/** A recorded answer of Nomad 2.0.5, as text. */
export function fixture(name: string): string {
  return readFileSync(new URL(`../fixtures/nomad-2.0.5/${name}`, import.meta.url), 'utf8');
}

/** A recorded answer of Nomad 2.0.5, parsed afresh each time so that a test may change it. */
export function jsonFixture(name: string): Record<string, unknown> {
  return JSON.parse(fixture(name));
}

/** The lines of the recorded event stream; the node in them is NODE_ID. */
export function eventLines(): string[] {
  return fixture('event-stream.ndjson').trimEnd().split('\n');
}

/** The node of the recorded stream, listing and agent. */
export const NODE_ID = '59f479a6-475e-cda8-393d-94fb7a1e1d97';
/** The allocation of allocation-web.json. */
export const WEB_ID = 'b519e830-0484-96a5-d371-a196fadb11f3';
