import { Database } from 'bun:sqlite';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { METRIC, post, send } from '../harness/client.ts';
import { isStraceMissing, onSlowDisk } from '../harness/slow-disk.ts';
import { countStored } from '../harness/stored-ids.ts';
import { startTarget, TARGET, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { loopVolume, noVolumes } from './volume.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:power-cut -- [--cycles 100] [--synchronous FULL|NORMAL] [--fsync-ms 0]
 *
 * Cuts the power of the disk under a server with load, again and again, and counts acknowledged rows that are missing
 * afterwards. NORMAL (only with RAWLOG_TARGET=source) is the control experiment: the same server without fsync must lose
 * rows, otherwise the power cuts prove nothing. --fsync-ms slows the disk down with strace, so that fsyncs run in a thread.
 */

/** The result of {@link cutPower}. */
export interface PowerCutReport {
  readonly cycles: number;
  readonly acknowledged: number;
  readonly lost: number;
  /** Cycles after which SQLite's integrity check found damage. */
  readonly damaged: number;
  /** Cycles in which fsyncs ran on the main thread shortly before the cut. */
  readonly inline: number;
}

/**
 * Runs a number of power cuts on one volume with one growing database.
 *
 * @param fsyncMs the time that each fsync takes in addition: from 1 ms, they run in a thread
 */
export async function cutPower(cycles: number, synchronous: 'FULL' | 'NORMAL', fsyncMs = 0): Promise<PowerCutReport> {
  // in memory, so that the disk is fast unless it is slowed down
  using volume = loopVolume('/dev/shm');
  const dataDir = join(volume.path, 'data');
  let acknowledged = 0;
  let lost = 0;
  let damaged = 0;
  let inline = 0;
  for (let cycle = 0; cycle < cycles; cycle++) {
    const { ids, isInline } = await loadUntilCut(dataDir, synchronous, fsyncMs, volume.cutPower);
    if (isInline) inline++;
    volume.remount();
    const database = new Database(join(dataDir, 'rawlog.db'));
    const check = database.query<{ integrity_check: string }, []>('PRAGMA integrity_check').get();
    if (check?.integrity_check !== 'ok') damaged++;
    lost += ids.length - countStored(database, ids);
    database.close();
    acknowledged += ids.length;
  }
  return { cycles, acknowledged, lost, damaged, inline };
}

/**
 * Loads a server with single rows and batches, and cuts the power after a random number of responses. Returns the
 * acknowledged IDs, and whether fsyncs ran on the main thread.
 */
async function loadUntilCut(
  dataDir: string,
  synchronous: 'FULL' | 'NORMAL',
  fsyncMs: number,
  cut: () => void,
): Promise<{ ids: string[]; isInline: boolean }> {
  const preload = synchronous === 'NORMAL' ? [`--preload=${import.meta.dir}/synchronous-normal.ts`] : [];
  const prefix = fsyncMs > 0 ? onSlowDisk(fsyncMs) : [];
  const target = await startTarget(UNLIMITED, { dataDir, prefix, runtimeFlags: preload });
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
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  const { body: status } = await send(`${target.url}/api/status`, { headers });
  cut();
  await target.stop('SIGKILL');
  await Promise.all(clients);
  return { ids, isInline: status.storage.fsync.mode === 'inline' };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      cycles: { type: 'string', default: '100' },
      synchronous: { type: 'string', default: 'FULL' },
      'fsync-ms': { type: 'string', default: '0' },
    },
  });
  if (noVolumes) {
    console.error(`SKIPPED: cannot simulate power cuts: ${noVolumes}`);
    process.exit(0);
  }
  const synchronous = values.synchronous === 'NORMAL' ? 'NORMAL' : 'FULL';
  const fsyncMs = Number(values['fsync-ms']);
  if (fsyncMs > 0 && isStraceMissing) process.exit(0);
  const { cycles, acknowledged, lost, damaged, inline } = await cutPower(Number(values.cycles), synchronous, fsyncMs);
  console.log(
    `${TARGET}, synchronous ${synchronous}: ${cycles} power cuts (${inline} with fsyncs on the main thread), ${acknowledged} rows acknowledged, ${lost} lost, ${damaged} databases damaged`,
  );
  process.exit(synchronous === 'FULL' && lost + damaged > 0 ? 1 : 0);
}
