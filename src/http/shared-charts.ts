import { LRUCache } from 'lru-cache';
import type { ChartQuery } from '../board-bodies.ts';
import type { ChartCaller, ChartScope, DrawChart, DrawnChart } from './board-charts.ts';

/** How long a drawn chart is cached, in milliseconds. */
const TTL_MS = 60_000;
/** Memory for cached charts, in UTF-16 code units. */
const MAX_SIZE = 32 * 1024 ** 2;

/** The cached charts of shared boards. */
export interface SharedCharts {
  /**
   * Returns a chart of at most a minute ago. Concurrent calls share its queries.
   *
   * @param key identifies the version of the board and the chart
   */
  draw(key: string, query: ChartQuery, scope: ChartScope, caller: Pick<ChartCaller, 'key'>): Promise<DrawnChart>;
  /** Drops all charts: rows were erased or deleted. */
  clear(): void;
}

/** Creates the cache of the charts of shared boards. */
export function createSharedCharts(draw: DrawChart): SharedCharts {
  const cached = new LRUCache<string, DrawnChart>({
    ttl: TTL_MS,
    maxSize: MAX_SIZE,
    sizeCalculation: ({ result, compared = '' }) => 200 + result.length + compared.length,
  });
  let pending = new Map<string, Promise<DrawnChart>>();

  return {
    async draw(key, query, scope, { key: callerKey }) {
      const full = JSON.stringify([key, scope.user ?? null]);
      const found = cached.get(full);
      if (found) return found;
      const waiting = pending.get(full);
      if (waiting) return waiting;
      // not canceled with a client, because others may wait for it
      const caller = { key: callerKey, canReadAll: false, signal: new AbortController().signal, client: undefined };
      const current = pending;
      const drawn = draw(query, scope, caller);
      current.set(full, drawn);
      try {
        const chart = await drawn;
        if (current === pending) cached.set(full, chart); // else rows were removed meanwhile
        return chart;
      } finally {
        current.delete(full);
      }
    },
    clear() {
      cached.clear();
      pending = new Map();
    },
  };
}
