import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Answers } from './api.ts';

/** Names to choose from, the most frequent first. */
export interface Names {
  readonly names: readonly string[];
  /** Whether there are no others: those can only be typed. */
  readonly isComplete: boolean;
}

/** When the first and the last rows happened, half-open; empty where there are none. */
export interface Extent {
  readonly from?: Date;
  readonly to?: Date;
}

/** What there is to look at, as far as it is known. */
export interface Catalog {
  readonly metrics: Names;
  readonly types: Names;
  /** How many rows there are; undefined: it is not known. */
  readonly rows: number | undefined;
  readonly extent: Extent;
}

/** The catalog when nothing is known: everything can still be typed. */
export const UNKNOWN: Catalog = {
  metrics: { names: [], isComplete: false },
  types: { names: [], isComplete: false },
  rows: undefined,
  extent: {},
};

export const CatalogContext = createContext<Catalog>(UNKNOWN);

/** What there is to look at. */
export function useCatalog(): Catalog {
  return useContext(CatalogContext);
}

/**
 * Returns the catalog of all rows.
 *
 * The routes that list every name are not asked: with very many names they reject the query.
 */
export function catalogOf({ metrics, analytics, from, to }: Answers['/api/activity']): Catalog {
  return {
    metrics: { names: metrics.names.map(({ name }) => name), isComplete: metrics.other.names === 0 },
    types: { names: analytics.types.map(({ type }) => type), isComplete: analytics.other.types === 0 },
    rows: metrics.count + analytics.count,
    // half-open, and to the microsecond: the last row is in it
    extent: from === null || to === null ? {} : { from: new Date(from), to: new Date(Date.parse(to) + 1) },
  };
}
