import { Database } from 'bun:sqlite';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { METRIC, post } from '../harness/client.ts';
import { startTarget, TARGET, UNLIMITED } from '../harness/target.ts';
import { loopVolume, noVolumes } from './volume.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:power-cut -- [--cycles 100] [--synchronous FULL|NORMAL]
 *
 * Cuts the power of the disk under a server with load, again and again, and counts acknowledged rows that are missing
 * afterwards. NORMAL (only with RAWLOG_TARGET=source) is the control experiment: the same server without fsync must lose
 * rows, otherwise the power cuts prove nothing.
 */

/** The result of {@link cutPower}. */
export interface PowerCutReport {
  readonly cycles: number;
  readonly acknowledged: number;
  readonly lost: number;
  /** Cycles after which SQLite's integrity check found damage. */
  readonly damaged: number;
}

/** Runs a number of power cuts on one volume with one growing database. */
export async function cutPower(cycles: number, synchronous: 'FULL' | 'NORMAL'): Promise<PowerCutReport> {
  using volume = loopVolume();
  const dataDir = join(volume.path, 'data');
  let acknowledged = 0;
  let lost = 0;
  let damaged = 0;
  for (let cycle = 0; cycle < cycles; cycle++) {
    const ids = await loadUntilCut(dataDir, synchronous, volume.cutPower);
    volume.remount();
    const database = new Database(join(dataDir, 'rawlog.db'));
    const check = database.query<{ integrity_check: string }, []>('PRAGMA integrity_check').get();
    if (check?.integrity_check !== 'ok') damaged++;
    lost += ids.length - countStored(database, ids);
    database.close();
    acknowledged += ids.length;
  }
  return { cycles, acknowledged, lost, damaged };
}

/** Counts the IDs that are in the database. Returns 0 if even the table is lost. */
function countStored(database: Database, ids: readonly string[]): number {
  if (database.query("SELECT 1 FROM sqlite_schema WHERE name = 'metrics'").get() === null) return 0;
  const isStored = database.query('SELECT 1 FROM metrics WHERE id = ? AND seq = ?');
  return ids.filter((id) => isStored.get(id, seqOf(id)) !== null).length;
}

/** Returns the key of a record, which is the time part of its ID: milliseconds since 2020, and a 12-bit counter. */
function seqOf(id: string): number {
  const millisecond = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return (millisecond - Date.UTC(2020, 0, 1)) * 4096 + Number.parseInt(id.slice(15, 18), 16);
}

/**
 * Loads a server with single rows and batches, and cuts the power after a random number of responses. Returns the
 * acknowledged IDs.
 */
async function loadUntilCut(dataDir: string, synchronous: 'FULL' | 'NORMAL', cut: () => void): Promise<string[]> {
  const preload = synchronous === 'NORMAL' ? [`--preload=${import.meta.dir}/synchronous-normal.ts`] : [];
  const target = await startTarget(UNLIMITED, { dataDir, runtimeFlags: preload });
  const ids: string[] = [];
  const goal = 20 + Math.floor(Math.random() * 200);
  let responseCount = 0;
  const goalReached = Promise.withResolvers<void>();
  const client = async (isSingle: boolean) => {
    for (;;) {
      try {
        const response = isSingle
          ? await post(target, '/log_raw_metric', METRIC)
          : await post(target, '/log_batch', { metrics: Array(100).fill(METRIC) });
        if (response.status !== 200) return;
        ids.push(...(isSingle ? [response.body] : response.body.metrics));
        if (++responseCount >= goal) goalReached.resolve();
      } catch {
        return; // the server is gone
      }
    }
  };
  const clients = Array.from({ length: 16 }, (_, i) => client(i % 2 === 0));
  await goalReached.promise;
  cut();
  await target.stop('SIGKILL');
  await Promise.all(clients);
  return ids;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { cycles: { type: 'string', default: '100' }, synchronous: { type: 'string', default: 'FULL' } },
  });
  if (noVolumes) {
    console.error(`SKIPPED: cannot simulate power cuts: ${noVolumes}`);
    process.exit(0);
  }
  const synchronous = values.synchronous === 'NORMAL' ? 'NORMAL' : 'FULL';
  const { cycles, acknowledged, lost, damaged } = await cutPower(Number(values.cycles), synchronous);
  console.log(
    `${TARGET}, synchronous ${synchronous}: ${cycles} power cuts, ${acknowledged} rows acknowledged, ${lost} lost, ${damaged} databases damaged`,
  );
  process.exit(synchronous === 'FULL' && lost + damaged > 0 ? 1 : 0);
}
