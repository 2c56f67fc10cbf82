import type { Database } from 'bun:sqlite';
import { randomUUID } from 'node:crypto';

/** A statement that inserts a metric as it stands, in the order of the table's columns. */
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

/** Users, names and labels of metrics as a product with 5,000 users would send them. */
export const USERS: readonly string[] = Array.from({ length: 5_000 }, () => randomUUID());
export const NAMES: readonly string[] = Array.from({ length: 200 }, (_, i) => `metric_name_${i}`);
export const LABELS: readonly string[] = Array.from({ length: 200 }, (_, i) => `/path/to/page/${i}`);

/** One of a list, for a number however large. */
export function pick(list: readonly string[], number: number): string {
  return list[number % list.length] as string;
}
