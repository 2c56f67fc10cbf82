import { formatTimestamp } from '../formats/timestamp.ts';
import type { Kind } from '../records.ts';
import type { EventTypes, MetricNames } from '../responses.ts';
import type { ColumnStore, Extent } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { extentsOf, userOf } from './selection.ts';

type NameSummary = MetricNames['metrics'][number] | EventTypes['types'][number];

/** Minimum length of an entry in the result, excluding the name. */
const NAME_BYTES = '{"name":"","count":1,"first_seen":"2026-01-01T00:00:00Z","last_seen":"2026-01-01T00:00:00Z"},'
  .length;

/** Lists the names of a kind, the most frequent first. Reads only series in which the user has rows. */
export function names(store: ColumnStore, kind: Kind, user: string | undefined, budget: Budget): Iterable<NameSummary> {
  const found = extentsOf(store, kind, userOf(store, { user }), { from: undefined, to: undefined }, budget);
  return summarizeNames(
    kind,
    found.map(({ series, extent }) => ({ name: series.name, extent })),
    budget,
  );
}

/** A name, and the extent of its rows. */
export interface NamedExtent {
  readonly name: string;
  readonly extent: Extent;
}

/** Sorts names, the most frequent first, equally frequent ones by UTF-16 code units, and summarizes them. */
export function summarizeNames(kind: Kind, found: NamedExtent[], budget: Budget): Iterable<NameSummary> {
  budget.checkResult(found.reduce((sum, { name }) => sum + NAME_BYTES + name.length, 0));
  let compared = 0;
  found.sort((a, b) => {
    if (++compared % 4096 === 0) budget.check();
    return b.extent.rows - a.extent.rows || (a.name < b.name ? -1 : 1);
  });
  return found.values().map((entry) => summaryOf(kind, entry));
}

function summaryOf(kind: Kind, { name, extent }: NamedExtent): NameSummary {
  return {
    ...(kind === 'metric' ? { name } : { type: name }),
    count: extent.rows,
    first_seen: formatTimestamp(extent.minTime),
    last_seen: formatTimestamp(extent.maxTime),
  };
}
