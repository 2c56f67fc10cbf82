import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Answers } from './api.ts';

/** What there is to look at: the names of metrics and the types of events, the most frequent first. */
export interface Catalog {
  readonly metrics: Answers['/api/metrics']['metrics'];
  readonly types: Answers['/api/analytics']['types'];
}

export const CatalogContext = createContext<Catalog>({ metrics: [], types: [] });

/** What there is to look at. */
export function useCatalog(): Catalog {
  return useContext(CatalogContext);
}
