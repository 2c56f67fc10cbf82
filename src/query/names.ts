import type { Kind } from '../records.ts';
import type { ColumnStore, Extent } from '../storage/columns/column-store.ts';
import { formatInZone } from './calendar.ts';
import { type Budget, select } from './selection.ts';

/** A metric's name or an event's type, under the name that its routes have for it. */
export type NameSummary = ({ readonly name: string } | { readonly type: string }) & {
  readonly count: number;
  /** When the first and the last of them happened, RFC 3339. */
  readonly first_seen: string;
  readonly last_seen: string;
};

/** Lists the names of a kind, the most frequent first. */
export function names(store: ColumnStore, kind: Kind, user: string | undefined, budget: Budget): NameSummary[] {
  const found: { name: string; extent: Extent }[] = [];
  for (const one of store.seriesOf(kind)) {
    const extent = user === undefined ? store.extent(one) : ownExtent(store, kind, one.name, user, budget);
    if (!extent) continue;
    found.push({ name: one.name, extent });
  }
  found.sort((a, b) => b.extent.rows - a.extent.rows || (a.name < b.name ? -1 : 1));
  return found.map(({ name, extent }) => ({
    ...(kind === 'metric' ? { name } : { type: name }),
    count: extent.rows,
    first_seen: formatInZone(extent.minTime, 'UTC'),
    last_seen: formatInZone(extent.maxTime, 'UTC'),
  }));
}

function ownExtent(store: ColumnStore, kind: Kind, name: string, user: string, budget: Budget) {
  const selection = select(store, kind, { name, user, from: undefined, to: undefined }, budget);
  return selection.extent;
}
