import { NotSupportedError } from './connection.ts';
import { integer, integers, list, type Sql, sql } from './sql.ts';

/** Number of runs up to which they are compared one by one, instead of looking up cells. */
const FEW_RUNS = 64;
/** Maximum numbers of cells and of runs. Longer statements take ClickHouse 18.16 seconds to parse. */
const MAX_CELLS = 20_000;
const MAX_RUNS = 1_000;

/**
 * Returns the expression for the bucket of a time, from 0. rawlog computes the edges, since the engine's time zones and
 * calendar may differ from those of the embedded engine.
 *
 * Runs of equally long buckets need one division each: there is one run of hours, and about five runs of local days per year. Where
 * there are many runs, as with months, the range is divided into cells that are as long as the shortest bucket, so that each
 * contains at most one edge.
 *
 * @param edges the starts of the buckets, followed by the end of the last
 * @param time an expression for a time within the buckets, in microseconds since 1970
 * @throws {NotSupportedError} if there are too many runs and cells
 */
export function bucketIn(edges: Float64Array, time = sql`happened_at`): Sql {
  const runs = runsOf(edges);
  if (runs.length <= FEW_RUNS) return bucketOfRuns(edges, runs, time);
  const cells = bucketOfCell(edges);
  if (cells) return bucketInCell(edges, cells, time);
  if (runs.length <= MAX_RUNS) return bucketOfRuns(edges, runs, time);
  throw new NotSupportedError('the buckets are too irregular');
}

function lengthOf(edges: Float64Array, bucket: number): number {
  return (edges[bucket + 1] as number) - (edges[bucket] as number);
}

/** Returns the first bucket of each run of equally long buckets. */
function runsOf(edges: Float64Array): number[] {
  const runs: number[] = [];
  for (let bucket = 0; bucket < edges.length - 1; bucket++) {
    if (bucket === 0 || lengthOf(edges, bucket) !== lengthOf(edges, bucket - 1)) runs.push(bucket);
  }
  return runs;
}

function bucketOfRuns(edges: Float64Array, runs: readonly number[], time: Sql): Sql {
  const branches = runs.map((first, i) => {
    const offset = sql`${time} - (${integer(edges[first] as number)})`;
    const bucket = sql`${integer(first)} + intDiv(${offset}, ${integer(lengthOf(edges, first))})`;
    const next = runs[i + 1];
    return next === undefined ? bucket : sql`${time} < (${integer(edges[next] as number)}), ${bucket}`;
  });
  return branches.length === 1 ? sql`toUInt32(${list(branches)})` : sql`toUInt32(multiIf(${list(branches)}))`;
}

/** The length of the shortest bucket. */
function shortestOf(edges: Float64Array): number {
  let shortest = Number.POSITIVE_INFINITY;
  for (let bucket = 0; bucket < edges.length - 1; bucket++) shortest = Math.min(shortest, lengthOf(edges, bucket));
  return shortest;
}

/** Returns the bucket at the start of each cell; undefined if there are too many. */
function bucketOfCell(edges: Float64Array): number[] | undefined {
  const [first, last] = [edges[0] as number, edges[edges.length - 1] as number];
  const shortest = shortestOf(edges);
  const cells = Math.ceil((last - first) / shortest);
  if (cells > MAX_CELLS) return undefined;
  let bucket = 0;
  return Array.from({ length: cells }, (_, i) => {
    while ((edges[bucket + 1] as number) <= first + i * shortest) bucket++;
    return bucket;
  });
}

function bucketInCell(edges: Float64Array, cells: readonly number[], time: Sql): Sql {
  const cell = sql`intDiv(${time} - (${integer(edges[0] as number)}), ${integer(shortestOf(edges))})`;
  const bucket = sql`arrayElement(${integers(cells)}, ${cell} + 1)`;
  const end = sql`arrayElement(${integers(edges.subarray(1))}, ${bucket} + 1)`;
  return sql`toUInt32(${bucket} + (${time} >= ${end}))`;
}
