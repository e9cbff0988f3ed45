import { beforeEach, describe, expect, test } from 'vitest';
import { NomadHealth } from '../../../src/agent/nomad-health.ts';
import { ManualClock } from '../../support/manual-clock.ts';

describe('what is told of Nomad', () => {
  let clock: ManualClock;
  let health: NomadHealth;

  beforeEach(() => {
    clock = new ManualClock();
    health = new NomadHealth(clock);
  });

  /** Nomad has said who it is, its stream stands, and a second later its allocations were asked for and listed. */
  function allWell(): void {
    health.attached();
    health.streamConnected();
    clock.advance(1000);
    health.listed(clock.monotonic());
  }

  test('is one thing until Nomad has said who it is, then what is missing yet, then nothing', () => {
    expect(health.reasons(0)).toEqual(['Nomad has not been asked yet']);
    health.failed('agent', 'nobody listens');
    expect(health.reasons(0)).toEqual(['nobody listens']);
    health.attached();
    expect(health.reasons(0)).toHaveLength(2);
    expect([health.isConnected, health.lastListing]).toEqual([false, undefined]);
    allWell();
    expect(health.reasons(0)).toEqual([]);
    expect([health.isConnected, health.lastListing]).toEqual([true, clock.now()]);
  });

  test('is each thing that went wrong, until it goes well again', () => {
    allWell();
    health.streamDisconnected('silent');
    health.failed('listing', 'refused');
    expect(health.reasons(0)).toEqual(['silent', 'refused']);
    health.listed(clock.monotonic());
    expect([health.reasons(0), health.isConnected]).toEqual([['silent'], false]);
    health.streamConnected();
    expect([health.reasons(0), health.isConnected]).toEqual([[], true]);
  });

  test('is no problem where the stream is only opened afresh', () => {
    allWell();
    health.streamDisconnected(undefined);
    expect([health.reasons(0), health.isConnected]).toEqual([[], true]);
  });

  test('names the right that is missing where allocations of this node are not shown, and no allocation', () => {
    allWell();
    expect(health.reasons(1)).toEqual([
      'Nomad does not show one allocation of this node: the token is not valid, or its policy lacks: namespace "*" { capabilities = ["read-job"] }',
    ]);
    expect(health.reasons(3)[0]).toContain('3 allocations');
  });
});

describe('what is known is up to date', () => {
  test('while the stream stands and everything was asked for after it began to', () => {
    const clock = new ManualClock();
    const health = new NomadHealth(clock);
    health.attached();
    clock.advance(10);
    const askedBefore = clock.monotonic();
    clock.advance(10);
    health.streamConnected();
    clock.advance(10);
    health.listed(askedBefore);
    expect(health.isUpToDate()).toBe(false);
    health.listed(clock.monotonic());
    expect(health.isUpToDate()).toBe(true);
    health.streamDisconnected(undefined);
    expect(health.isUpToDate()).toBe(false);
    clock.advance(10);
    health.streamConnected();
    expect(health.isUpToDate()).toBe(false);
    clock.advance(10);
    health.listed(clock.monotonic());
    expect(health.isUpToDate()).toBe(true);
  });
});
