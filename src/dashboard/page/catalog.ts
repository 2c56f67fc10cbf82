import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Responses } from './api.ts';

/** Names to choose from, most frequent first. */
export interface Names {
  readonly names: readonly string[];
  /** Whether the list is complete. Names that are not in the list must be typed. */
  readonly isComplete: boolean;
}

/** The time range of all rows, half-open; empty if there are none. */
export interface Extent {
  readonly from?: Date;
  readonly to?: Date;
}

/** Names, row count and time range of the stored data. */
export interface Catalog {
  readonly metrics: Names;
  readonly types: Names;
  /** The total number of rows; undefined: not known. */
  readonly rows: number | undefined;
  readonly extent: Extent;
}

/** The catalog before it has loaded. Names can still be typed. */
export const UNKNOWN: Catalog = {
  metrics: { names: [], isComplete: false },
  types: { names: [], isComplete: false },
  rows: undefined,
  extent: {},
};

export const CatalogContext = createContext<Catalog>(UNKNOWN);

/** Returns the catalog of the current user filter. */
export function useCatalog(): Catalog {
  return useContext(CatalogContext);
}

/**
 * Builds the catalog from the activity of all rows.
 *
 * Does not use the routes that list every name, because they reject the query when there are too many names.
 */
export function catalogOf({ metrics, analytics, from, to }: Responses['/api/activity']): Catalog {
  return {
    metrics: { names: metrics.names.map(({ name }) => name), isComplete: metrics.other.names === 0 },
    types: { names: analytics.types.map(({ type }) => type), isComplete: analytics.other.types === 0 },
    rows: metrics.count + analytics.count,
    // JavaScript dates drop microseconds: one more millisecond includes the last row
    extent: from === null || to === null ? {} : { from: new Date(from), to: new Date(Date.parse(to) + 1) },
  };
}
