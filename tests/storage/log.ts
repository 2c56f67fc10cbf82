import type { AnalyticsRecord, LogRecord, MetricRecord } from '../../src/records.ts';
import { SEQ_EPOCH } from '../../src/storage/record-id.ts';

/** The `seq` of the first test row: 2026-01-01. */
export const FIRST_SEQ = (Date.UTC(2026, 0, 1) - SEQ_EPOCH) * 4096;

/** Returns the ID that belongs to a `seq`. */
export function idOf(seq: number): string {
  const millisecond = Math.floor(seq / 4096) + SEQ_EPOCH;
  const hex = millisecond.toString(16).padStart(12, '0');
  const counter = (seq % 4096).toString(16).padStart(3, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${counter}-8000-${(seq % 1e12).toString().padStart(12, '0')}`;
}

/** Creates a metric with a `seq`, overriding default fields. */
export function metric(seq: number, overrides: Partial<MetricRecord> = {}): MetricRecord {
  const happenedAt = (Math.floor(seq / 4096) + SEQ_EPOCH) * 1000;
  const stamp = { kind: 'metric', seq, id: idOf(seq), userId: 'ada', happenedAt, receivedAt: happenedAt } as const;
  return { ...stamp, metricName: 'load', metricValue: 1.5, dataString: '/', ...overrides };
}

/** Creates an event with a `seq`, overriding default fields. */
export function event(seq: number, overrides: Partial<AnalyticsRecord> = {}): AnalyticsRecord {
  const happenedAt = (Math.floor(seq / 4096) + SEQ_EPOCH) * 1000;
  const stamp = { kind: 'analytics', seq, id: idOf(seq), userId: 'ada', happenedAt, receivedAt: happenedAt } as const;
  return { ...stamp, type: 'click', data: '{"n":1}', dataIndex: 'a', ...overrides };
}

/** Creates records with consecutive `seq`s. */
export function records(count: number, make: (seq: number, i: number) => LogRecord): LogRecord[] {
  return Array.from({ length: count }, (_, i) => make(FIRST_SEQ + i, i));
}
