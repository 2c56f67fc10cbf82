import { type BucketQuery, edgesOf } from '../selection.ts';
import { type GroupStatistics, SERIES_BUCKET_BYTES, seriesOf } from '../series.ts';
import { StatisticsTable } from '../statistics-table.ts';
import type { Connection } from './connection.ts';
import { readPercentiles } from './percentiles.ts';
import { readRange } from './range.ts';
import { readTargets, type Targets } from './targets.ts';
import { readBins, sumOfBins } from './value-bins.ts';

/** The groups of an empty range. */
const NO_TARGETS = { edges: new Float64Array(0), buckets: 0, groups: { values: [], others: 0 }, groupCount: 1 };

/** Computes the statistics of a metric over time, like the embedded engine. */
export async function series(connection: Connection, query: BucketQuery) {
  const range = await readRange(connection, ['metric'], [query.name], query);
  const edges = edgesOf(range, query);
  if (edges.length === 0) {
    const nothing = new StatisticsTable(1, connection.budget);
    return seriesOf(query, { ...range, ...NO_TARGETS }, { all: 0, at: (index) => nothing.at(index) });
  }
  const targets = await readTargets(connection, 'metric', query, range, edges, SERIES_BUCKET_BYTES);
  return seriesOf(query, { ...range, ...targets }, await readStatistics(connection, targets));
}

async function readStatistics(connection: Connection, targets: Targets): Promise<GroupStatistics> {
  const { budget } = connection;
  const { buckets, all, size } = targets;
  const bins = await readBins(connection, targets);
  const percentiles = await readPercentiles(connection, targets, bins);
  const table = new StatisticsTable(size, budget);
  for (const { target, first, end } of bins.targets()) {
    const { count, min, max, sum } = sumOfBins(bins, first, end, budget);
    table.setAll(target, count, min, max, sum, percentiles.of(target));
  }
  // without a total of its own, a range of one bucket has that of the bucket
  const at = (index: number) => table.at(buckets === 1 && index % 2 === 0 ? index + 1 : index);
  return { all, at };
}
