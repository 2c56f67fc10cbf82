import { beforeEach, expect, test } from 'bun:test';
import { createSyncModeChooser, type SyncModeChooser } from '../../src/storage/sync-mode.ts';

let clock: number;
let chooser: SyncModeChooser;
beforeEach(() => {
  clock = 0;
  chooser = createSyncModeChooser(() => clock);
});

/** Syncs as often as given on a disk that takes a constant time. */
function sync(times: number, ms: number): void {
  for (let i = 0; i < times; i++) {
    if (chooser.next() === 'inline') chooser.inlineTook(ms);
    else chooser.threadTook(ms);
  }
}

test('fsyncs run on the main thread on a fast disk, despite single slow ones', () => {
  for (let i = 0; i < 100; i++) {
    sync(15, 0.2);
    sync(1, 20);
  }
  expect(chooser.current()).toEqual({ mode: 'inline', medianMs: 0.2 });
});

test('fsyncs leave the main thread after five slow ones', () => {
  sync(4, 0.6);
  expect(chooser.current().mode).toBe('inline');
  sync(1, 0.6);
  expect(chooser.current()).toEqual({ mode: 'thread', medianMs: 0.6 });
});

test('fsyncs leave the main thread at once after one that blocked it for long', () => {
  sync(100, 0.2);
  sync(1, 50);
  expect(chooser.current().mode).toBe('thread');
});

test('on a slow disk, no fsync runs on the main thread any more', () => {
  sync(5, 10);
  for (; clock < 3_600_000; clock += 100) {
    expect(chooser.next()).toBe('thread');
    sync(1, 10);
  }
});

test('fsyncs return to the main thread after five fast probes, one per second', () => {
  sync(5, 10);
  let probes = 0;
  for (; chooser.current().mode === 'thread'; clock += 10) {
    if (chooser.next() === 'inline') probes++;
    sync(1, 0.3);
  }
  expect(probes).toBe(5);
  expect(clock).toBeWithin(5_000, 5_200);
});

test('a disk between the two limits keeps its mode', () => {
  sync(100, 0.45);
  expect(chooser.current().mode).toBe('inline');
  sync(16, 0.6);
  for (; clock < 60_000; clock += 100) sync(1, 0.45);
  expect(chooser.current().mode).toBe('thread');
});
