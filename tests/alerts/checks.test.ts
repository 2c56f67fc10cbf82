import { expect, test } from 'bun:test';
import { createBackupCheck } from '../../src/alerts/backup.ts';
import { createDiskCheck } from '../../src/alerts/disk.ts';
import { createRecordingCheck } from '../../src/alerts/recording.ts';
import { createLedger } from '../../src/ingest/ledger.ts';

const GB = 1e9;
const HOUR = 3_600;
const DAY = 86_400;

/** Returns what the disk check finds after the free space was sampled for some time. */
function diskAfter(seconds: number, freeBytes: (second: number) => number) {
  let second = 0;
  const check = createDiskCheck({
    freeBytes: () => freeBytes(second),
    minFreeBytes: GB,
    monotonic: () => second * 1000,
  });
  let [found] = check();
  for (; second <= seconds; second += 600) [found] = check();
  return found;
}

test('a disk that will be full within a week raises an alert, one that will not within eight days ends it', () => {
  /** The free space that reaches the minimum this many days after the last sample. */
  const fullIn = (days: number) => (second: number) => GB + 1e5 * (days * DAY + DAY - second);
  const found = diskAfter(DAY, fullIn(6.9));
  expect(found?.isActive).toBe(true);
  expect(found?.details).toEqual({ free_bytes: GB + 1e5 * 6.9 * DAY, min_free_bytes: GB, full_in_seconds: 6.9 * DAY });
  expect(found?.summary).toContain('full in 6 days 21 hours');
  expect(diskAfter(DAY, fullIn(7.1))?.isActive).toBeUndefined();
  expect(diskAfter(DAY, fullIn(8.1))?.isActive).toBe(false);
  expect(diskAfter(DAY, () => 2 * GB)?.isActive).toBe(false);
});

test('a trend of an hour is trusted for 28 hours, and jumps do not count', () => {
  const perHour = (bytes: number) => (second: number) => 100 * GB - (bytes * second) / HOUR;
  expect(diskAfter(HOUR - 600, perHour(10 * GB))?.isActive).toBeUndefined();
  expect(diskAfter(HOUR, perHour(10 * GB))?.isActive).toBe(true);
  expect(diskAfter(HOUR, perHour(2 * GB))?.isActive).toBeUndefined();
  expect(diskAfter(6 * HOUR, perHour(2 * GB))?.isActive).toBe(true);
  // a backup of two hours on the same disk, and one that stays
  expect(diskAfter(12 * HOUR, (second) => (second > 3 * HOUR && second < 5 * HOUR ? 50 : 60) * GB)?.isActive).toBe(
    false,
  );
  expect(diskAfter(12 * HOUR, (second) => (second > 10 * HOUR ? 50 : 60) * GB)?.isActive).toBe(false);
});

test('backups raise an alert when they are late or have failed three times', () => {
  const now = Date.UTC(2026, 0, 10);
  const check = (ageHours: number | undefined, uptimeHours: number, failures = 0) =>
    createBackupCheck({
      schedule: {
        lastAt: () => (ageHours === undefined ? undefined : now - ageHours * HOUR * 1000),
        failures: () => failures,
      },
      everySeconds: 6 * HOUR,
      now: () => now,
      uptimeSeconds: () => uptimeHours * HOUR,
    })()[0];
  expect(check(12, 99)?.isActive).toBe(false);
  expect(check(12.1, 99)).toMatchObject({
    isActive: true,
    summary: expect.stringContaining('are late. The newest is'),
  });
  expect(check(99, 0.9)?.isActive).toBeUndefined(); // the server was stopped: a backup is being made
  expect(check(undefined, 12)?.isActive).toBe(false);
  expect(check(undefined, 12.1)).toMatchObject({ isActive: true, summary: expect.stringContaining('none yet') });
  expect(check(1, 0, 2)?.isActive).toBe(false);
  expect(check(1, 0, 3)).toMatchObject({ isActive: true, summary: expect.stringContaining('backups fail') });
  expect(check(-5, 99)?.isActive).toBe(false); // the clock was set back
});

test('recording raises an alert for each way in which it fails', () => {
  const ledger = createLedger([['rejected:storage_full', 7]]);
  const state = { isShort: false, isDamaged: false, hasFailed: false };
  const check = createRecordingCheck({
    ledger,
    freeSpace: { isShort: () => state.isShort },
    queries: { health: () => ({ state: 'running', restarts: 0, isDamaged: state.isDamaged }) },
    hasFailed: () => state.hasFailed,
  });
  const reason = () => {
    const [found] = check();
    expect(found?.isActive).toBe(found?.details['reason'] !== null);
    return found?.details['reason'];
  };
  expect(reason()).toBeNull();
  ledger.reject('rate_limited', 5);
  expect(reason()).toBeNull();
  ledger.reject('storage_unavailable', 1);
  expect([reason(), reason()]).toEqual(['storage_unavailable', null]);
  ledger.reject('storage_full', 1);
  expect([reason(), reason()]).toEqual(['storage_full', null]);
  state.isShort = true;
  expect([reason(), reason()]).toEqual(['storage_full', 'storage_full']);
  state.isDamaged = true;
  expect(reason()).toBe('database_damaged');
  state.hasFailed = true;
  expect(reason()).toBe('storage_failed');
});
