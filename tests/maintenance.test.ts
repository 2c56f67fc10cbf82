import { expect, test } from 'bun:test';
import { pino } from 'pino';
import { createMaintenance, type MaintenanceParts } from '../src/maintenance.ts';
import type { Maintenance } from '../src/query/engine.ts';
import { KEEP_NOTHING, KEEP_SOME } from '../src/storage/reclaiming.ts';
import type { PruneRequest } from '../src/storage/retention.ts';
import { createSinkStore } from '../src/storage/sink-store.ts';
import { close, filledDatabases } from './storage/filled.ts';

const openFilled = filledDatabases();

/** Maintenance whose jobs are recorded instead of run. */
function recorded(onJob: (name: keyof Maintenance) => void, changes: Partial<MaintenanceParts> = {}) {
  const jobs: (readonly [keyof Maintenance, unknown])[] = [];
  const disk = { isShort: false };
  const parts = {
    queries: {
      health: () => ({ restarts: 0 }),
      async maintain(name: keyof Maintenance, argument: unknown) {
        jobs.push([name, argument]);
        onJob(name);
        return false;
      },
    },
    writer: { counts: () => [] },
    ledger: { setDeleted: () => {} },
    freeSpace: { isShort: () => disk.isShort, isLow: () => disk.isShort },
    sinks: () => [],
    storage: { stampWal: () => {} },
    databasePath: import.meta.path,
    retention: { seconds: undefined, rules: [] },
    onRemoved: () => {},
    isStopping: () => false,
    log: pino({ enabled: false }),
    now: () => 0,
    monotonic: () => 1,
    ...changes,
  } as unknown as MaintenanceParts;
  return { jobs, disk, maintenance: createMaintenance(parts) };
}

test('maintains space again, and keeps nothing free, if the disk becomes short meanwhile', async () => {
  let becomesShort = () => {};
  const { jobs, disk, maintenance } = recorded(() => becomesShort());
  becomesShort = () => {
    becomesShort = () => {};
    disk.isShort = true;
    maintenance.reclaimSoon();
  };
  for (let call = 0; call < 3; call++) await maintenance.maintainSpace();
  expect(jobs).toEqual([
    ['reclaim', KEEP_SOME],
    ['reclaim', KEEP_NOTHING],
  ]);
});

test('before the forwarder runs, nothing is deleted, unless free space is low', async () => {
  const { storage, reader } = await openFilled([]);
  const { id, name } = createSinkStore(storage.client, Date.now).register('nats://127.0.0.1/rawlog');
  const { jobs, disk, maintenance } = recorded(() => {}, {
    ...{ storage, sinks: () => undefined, retention: { seconds: 1, rules: [] } },
  });
  await maintenance.maintainSpace();
  disk.isShort = true;
  maintenance.reclaimSoon();
  await maintenance.maintainSpace();
  const pruned = jobs.flatMap(([job, argument]) => (job === 'prune' ? (argument as PruneRequest).delivered : []));
  const cursors = { metric: 0, analytics: 0 };
  expect(pruned).toMatchObject([
    { sinks: [{ cursors }], isAwaited: true },
    { sinks: [{ id, name, cursors }], isAwaited: false },
  ]);
  close({ storage, reader });
});

test('the next catch-up finishes a prune by command that failed', async () => {
  const { jobs, maintenance } = recorded((name) => {
    if (name === 'prune') throw new Error('the disk is full');
  });
  await maintenance.catchUp();
  await maintenance.catchUp();
  const prune = maintenance.prune({ seconds: 1, rules: [] }, false, () => {});
  await expect(prune).rejects.toThrow('full');
  await maintenance.catchUp();
  expect(jobs.map(([name]) => name)).toEqual(['resume', 'catchUp', 'catchUp', 'prune', 'resume', 'catchUp']);
});
