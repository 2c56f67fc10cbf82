import type { Database } from 'bun:sqlite';
import { randomUUID } from 'node:crypto';

/** Prepares a statement that inserts a metric. Its parameters are in column order: see src/storage/row-form.ts. */
export function prepareMetricInsert(client: Database) {
  return client.prepare<
    undefined,
    [
      seq: number,
      id: string,
      userId: string,
      happenedAt: number,
      receivedAt: number,
      metricName: string,
      metricValue: number,
      dataString: string,
    ]
  >('INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
}

/** Users, names and labels of a product with 5,000 users. */
export const USERS: readonly string[] = Array.from({ length: 5_000 }, () => randomUUID());
export const NAMES: readonly string[] = Array.from({ length: 200 }, (_, i) => `metric_name_${i}`);
export const LABELS: readonly string[] = Array.from({ length: 200 }, (_, i) => `/path/to/page/${i}`);

/** Picks an element by its index, modulo the length of the list. */
export function pick(list: readonly string[], index: number): string {
  return list[index % list.length] as string;
}
