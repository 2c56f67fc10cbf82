import { interpolate, PERCENTILES } from '../statistics-table.ts';
import type { Connection } from './connection.ts';
import { integer, integers, list, sql } from './sql.ts';
import type { Targets } from './targets.ts';
import { binKey, binsOf, type ValueBins } from './value-bins.ts';

/** The two ranks that each percentile is between. */
const RANKS = 2 * PERCENTILES.length;
/** Memory per rank, in bytes. */
const RANK_BYTES = 16;
/** Bins whose ranks are read by one statement. */
const BINS_PER_STATEMENT = 5_000;

/** The percentiles of each target. */
export interface Percentiles {
  readonly of: (target: number) => number[];
}

/** A rank in a bin whose value the engine has to find. */
interface WantedRank {
  /** Where the value belongs. */
  readonly place: number;
  /** The position in the bin, from 0. */
  readonly position: number;
}

/**
 * Computes percentiles exactly. The bins show where each rank is. If it is the first or the last of its bin, its value is
 * known; otherwise the engine sorts the values of that bin, and returns those at the wanted positions.
 */
export async function readPercentiles(connection: Connection, targets: Targets, bins: ValueBins): Promise<Percentiles> {
  const { budget } = connection;
  budget.reserve(RANK_BYTES * RANKS * targets.size);
  const values = new Float64Array(RANKS * targets.size);
  const counts = new Float64Array(targets.size);
  const wanted = new Map<number, WantedRank[]>();
  const factor = binsOf(bins.detailBits);
  for (const { target, first, end } of bins.targets()) {
    let count = 0;
    for (let bin = first; bin < end; bin++) count += bins.countOf(bin);
    counts[target] = count;
    let bin = first;
    let before = 0;
    for (let i = 0; i < RANKS; i++) {
      const rank = rankOf(i, count);
      if (rank < before) bin = first;
      if (bin === first) before = 0;
      for (; before + bins.countOf(bin) <= rank; bin++) before += bins.countOf(bin);
      const position = rank - before;
      const place = RANKS * target + i;
      if (position === 0) values[place] = bins.minOf(bin);
      else if (position === bins.countOf(bin) - 1 || bins.minOf(bin) === bins.maxOf(bin))
        values[place] = bins.maxOf(bin);
      else {
        budget.reserve(RANK_BYTES * RANKS);
        const key = target * factor + bins.numberOf(bin);
        const others = wanted.get(key);
        if (others) others.push({ place, position });
        else wanted.set(key, [{ place, position }]);
      }
    }
  }
  const entries = [...wanted];
  for (let at = 0; at < entries.length; at += BINS_PER_STATEMENT) {
    await readRanks(connection, targets, bins.detailBits, new Map(entries.slice(at, at + BINS_PER_STATEMENT)), values);
  }
  return {
    of: (target) =>
      PERCENTILES.map((fraction, i) => {
        const rank = fraction * ((counts[target] as number) - 1);
        const [low, high] = values.subarray(RANKS * target + 2 * i);
        return interpolate(low as number, high as number, rank - Math.floor(rank));
      }),
  };
}

/** Returns one of the ranks of the percentiles, from 0. */
function rankOf(index: number, count: number): number {
  const rank = (PERCENTILES[index >> 1] as number) * (count - 1);
  return index % 2 === 0 ? Math.floor(rank) : Math.ceil(rank);
}

/** Reads the values at some ranks. */
async function readRanks(
  { rows }: Connection,
  targets: Targets,
  detailBits: number,
  wanted: ReadonlyMap<number, readonly WantedRank[]>,
  values: Float64Array,
): Promise<void> {
  const keys = [...wanted.keys()];
  const index = sql`(transform(key, ${integers(keys)}, ${integers(keys.keys())}, toInt64(0)) + 1)`;
  // not a lambda over the ranks: 18.16 does not find columns of a subquery in it
  const found = Array.from({ length: RANKS }, (_, i) => {
    const positions = keys.map((key) => 1 + (wanted.get(key)?.[i]?.position ?? 0));
    return sql`arrayElement(sorted, arrayElement(${integers(positions)}, ${index}))`;
  });
  const blocks = rows(
    sql`SELECT key, [${list(found)}]
      FROM (SELECT ${binKey(targets, detailBits)} AS key, arraySort(groupArray(metric_value)) AS sorted
        FROM ${targets.source} AND key IN (${list(keys.map(integer))}) GROUP BY key)`,
    { key: 'integer', found: 'doubles' },
  );
  for await (const block of blocks) {
    for (const { key, found } of block) {
      wanted.get(key)?.forEach(({ place }, i) => {
        values[place] = found[i] as number;
      });
    }
  }
}
