import { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../../src/records.ts';
import { readSinks } from '../../src/storage/sink-store.ts';
import type { Target } from '../harness/target.ts';
import { cpuSeconds, treeSeconds } from './machine.ts';

/** How often the position of the sink is read, in milliseconds. The server stores it twice per second. */
const POLL_MS = 50;

const TABLES: Readonly<Record<Kind, string>> = { metric: 'metrics', analytics: 'analytics' };

/** Rows of one kind that wait for a sink: how many, and their first and last keys. */
interface Backlog {
  readonly rows: number;
  readonly first: number;
  readonly last: number;
}

/** What it took to deliver rows that waited. CPU times are microseconds per row. */
export interface BacklogResult {
  readonly sink: string;
  readonly rows: number;
  readonly seconds: number;
  readonly rate: number;
  /** Of all threads of the server. */
  readonly cpuUs: number;
  readonly engineCpuUs: number;
  /** Rows per second of each tenth of the rows, estimated from the keys. */
  readonly tenths: readonly number[];
}

/** Returns the rows of a database that a new sink receives: all but the blank ones. */
export function backlogOf(databasePath: string): Readonly<Record<Kind, Backlog>> {
  using client = new Database(databasePath, { readonly: true });
  const of = (kind: Kind): Backlog => {
    const found = client
      .query<{ rows: number; first: number | null; last: number | null }, []>(
        `SELECT count(*) AS rows, min(seq) AS first, max(seq) AS last FROM ${TABLES[kind]} WHERE id <> ''`,
      )
      .get();
    return { rows: found?.rows ?? 0, first: found?.first ?? 0, last: found?.last ?? 0 };
  };
  return { metric: of('metric'), analytics: of('analytics') };
}

/**
 * Measures how a server that has just been started, with a new sink, delivers the rows that wait for it.
 *
 * @param share which part of the rows to wait for. The last ones may stay for a while in a sink that gathers rows
 */
export async function measureBacklog(
  start: () => Promise<Target>,
  databasePath: string,
  enginePids: readonly number[],
  share = 1,
): Promise<BacklogResult> {
  const backlog = backlogOf(databasePath);
  const total = KINDS.reduce((sum, kind) => sum + backlog[kind].rows, 0);
  using client = new Database(databasePath, { readonly: true });
  const known = new Set(readSinks(client).map(({ name }) => name));
  const engineSeconds = () => enginePids.reduce((sum, pid) => sum + treeSeconds(pid), 0);
  const engineBefore = engineSeconds();
  const target = await start();
  try {
    const began = performance.now();
    const cpuBefore = cpuSeconds(target.process.pid);
    const passed: number[] = [];
    for (; ; await Bun.sleep(POLL_MS)) {
      const sink = readSinks(client).find(({ name }) => !known.has(name));
      if (!sink) continue;
      const rows = KINDS.reduce((sum, kind) => sum + estimateDelivered(backlog[kind], sink.cursors[kind]), 0);
      const seconds = (performance.now() - began) / 1000;
      while (passed.length < Math.floor((10 * rows) / total)) passed.push(seconds);
      const isDone =
        share === 1 ? KINDS.every((kind) => sink.cursors[kind] >= backlog[kind].last) : rows >= share * total;
      if (!isDone) continue;
      const cpu = cpuSeconds(target.process.pid) - cpuBefore;
      const engineCpu = engineSeconds() - engineBefore;
      return {
        sink: sink.name,
        rows,
        seconds,
        rate: rows / seconds,
        cpuUs: (cpu / rows) * 1e6,
        engineCpuUs: (engineCpu / rows) * 1e6,
        tenths: passed.map((at, i) => total / 10 / (at - (passed[i - 1] ?? 0))),
      };
    }
  } finally {
    await target.stop();
  }
}

/** Estimates how many rows of a kind are up to a key. Exact at the end, and where keys are evenly distributed. */
function estimateDelivered({ rows, first, last }: Backlog, cursor: number): number {
  if (cursor < first || rows === 0) return 0;
  return cursor >= last ? rows : rows * ((cursor - first) / (last - first));
}
