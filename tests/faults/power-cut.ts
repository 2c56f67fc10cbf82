import { Database } from 'bun:sqlite';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { METRIC, post } from '../harness/client.ts';
import { startTarget, TARGET, UNLIMITED } from '../harness/target.ts';
import { loopVolume, noVolumes } from './volume.ts';

/*
 * RAWLOG_TARGET=binary bun run faults:power-cut [--cycles 100] [--synchronous FULL|NORMAL]
 *
 * Cuts the power of the disk under a server with load, again and again, and counts what was
 * acknowledged and is not there afterwards. With NORMAL (on the sources alone) the same server does
 * not fsync its commits: it must lose rows, or the cuts prove nothing.
 */

export interface PowerCuts {
  readonly cycles: number;
  readonly acknowledged: number;
  readonly lost: number;
  /** Cycles after which SQLite's own check found the database damaged. */
  readonly damaged: number;
}

/** Runs so many power cuts, on one volume and one growing database. */
export async function cutPower(cycles: number, synchronous: 'FULL' | 'NORMAL'): Promise<PowerCuts> {
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
    lost += ids.length - storedOf(database, ids);
    database.close();
    acknowledged += ids.length;
  }
  return { cycles, acknowledged, lost, damaged };
}

/** How many of the ids are in the database: none where it has lost even its tables. */
function storedOf(database: Database, ids: readonly string[]): number {
  if (database.query("SELECT 1 FROM sqlite_schema WHERE name = 'metrics'").get() === null) return 0;
  const isStored = database.query('SELECT 1 FROM metrics WHERE id = ? AND seq = ?');
  return ids.filter((id) => isStored.get(id, seqOf(id)) !== null).length;
}

/** The key of a record is the time part of its id: milliseconds since 2020, and a counter of 12 bits. */
function seqOf(id: string): number {
  const millisecond = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return (millisecond - Date.UTC(2020, 0, 1)) * 4096 + Number.parseInt(id.slice(15, 18), 16);
}

/** Loads a server, single rows and batches, until a random number of answers; cuts, and gives the ids it answered with. */
async function loadUntilCut(dataDir: string, synchronous: 'FULL' | 'NORMAL', cut: () => void): Promise<string[]> {
  const preload = synchronous === 'NORMAL' ? [`--preload=${import.meta.dir}/synchronous-normal.ts`] : [];
  const target = await startTarget(UNLIMITED, { dataDir, runtimeFlags: preload });
  const ids: string[] = [];
  const enough = 20 + Math.floor(Math.random() * 200);
  let responses = 0;
  const reached = Promise.withResolvers<void>();
  const client = async (single: boolean) => {
    for (;;) {
      try {
        const response = single
          ? await post(target, '/log_raw_metric', METRIC)
          : await post(target, '/log_batch', { metrics: Array(100).fill(METRIC) });
        if (response.status !== 200) return;
        ids.push(...(single ? [response.body] : response.body.metrics));
        if (++responses >= enough) reached.resolve();
      } catch {
        return; // the server is gone
      }
    }
  };
  const clients = Array.from({ length: 16 }, (_, i) => client(i % 2 === 0));
  await reached.promise;
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
    console.error(`SKIPPED: power cuts cannot be simulated: ${noVolumes}`);
    process.exit(0);
  }
  const synchronous = values.synchronous === 'NORMAL' ? 'NORMAL' : 'FULL';
  const { cycles, acknowledged, lost, damaged } = await cutPower(Number(values.cycles), synchronous);
  console.log(
    `${TARGET}, synchronous ${synchronous}: ${cycles} power cuts, ${acknowledged} rows acknowledged, ${lost} lost, ${damaged} databases damaged`,
  );
  process.exit(synchronous === 'FULL' && lost + damaged > 0 ? 1 : 0);
}
