import type { IngestLag } from '../query/engine.ts';

/** Sets the header fields that report which rows a query did not include yet. */
export function reportLag(headers: Record<string, string | number>, lag: IngestLag): void {
  if (lag.rows === 0) return;
  headers['x-ingest-lag-rows'] = String(lag.rows);
  headers['x-ingest-lag-seconds'] = lag.seconds.toFixed(3);
}
