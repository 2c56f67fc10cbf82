import { ApiError, type ValidationIssue } from '../errors.ts';
import type { ExactJson } from '../formats/json.ts';
import {
  type Analytics,
  type AnalyticsRecord,
  type Batch,
  happenedAt,
  type Metric,
  type MetricRecord,
} from '../records.ts';
import type { RecordId } from './ids.ts';

/** Makes records of checked bodies: gives each its id and its times. */
export interface Stamper {
  /**
   * @param loc where the body stands in the request
   * @throws {ApiError} `validation_failed` for a time out of range
   */
  metric(userId: string, body: Metric, loc: ValidationIssue['loc']): MetricRecord;
  /**
   * @param data the event's data as JSON text
   * @throws {ApiError} `validation_failed` for a time out of range
   */
  analytics(userId: string, body: Analytics, data: string, loc: ValidationIssue['loc']): AnalyticsRecord;
  /**
   * @param userId the user of items that name none
   * @param exact the batch as it was sent, if that differs, for the events' data
   * @throws {ApiError} `validation_failed` with every time that is out of range
   */
  batch(
    userId: string,
    body: Batch,
    exact: ExactJson | undefined,
  ): { metrics: MetricRecord[]; analytics: AnalyticsRecord[] };
}

/**
 * @param now the clock, in milliseconds since 1970
 * @param maxSkew how far ahead of the clock a record's time may be, in microseconds
 */
export function createStamper(nextId: () => RecordId, now: () => number, maxSkew: number): Stamper {
  function timeOf(text: string | undefined, receivedAt: number, loc: ValidationIssue['loc']): number {
    const time = happenedAt(text, receivedAt, maxSkew, loc);
    if (typeof time !== 'number') throw new ApiError('validation_failed', { issues: [time] });
    return time;
  }

  const stamper: Stamper = {
    metric(userId, body, loc) {
      const receivedAt = now() * 1000;
      const happenedAt = timeOf(body.timestamp, receivedAt, loc);
      const { id, seq } = nextId();
      const { metric_name: metricName, metric_value: metricValue, data_string: dataString = '' } = body;
      return { kind: 'metric', seq, id, userId, happenedAt, receivedAt, metricName, metricValue, dataString };
    },
    analytics(userId, body, data, loc) {
      const receivedAt = now() * 1000;
      const happenedAt = timeOf(body.timestamp, receivedAt, loc);
      const { id, seq } = nextId();
      const { type, data_index: dataIndex = '' } = body;
      return { kind: 'analytics', seq, id, userId, happenedAt, receivedAt, type, dataIndex, data };
    },
    batch(userId, body, exact) {
      const issues: ValidationIssue[] = [];
      const attempt = <T>(make: () => T): T[] => {
        try {
          return [make()];
        } catch (error) {
          if (!(error instanceof ApiError && error.issues)) throw error;
          issues.push(...error.issues);
          return [];
        }
      };
      const metrics = (body.metrics ?? []).flatMap((item, i) =>
        attempt(() => stamper.metric(item.user_id ?? userId, item, ['body', 'metrics', i])),
      );
      const exactEvents = exact?.at('analytics');
      const analytics = (body.analytics ?? []).flatMap((item, i) => {
        const data = exactEvents?.at(i)?.at('data') ?? JSON.stringify(item.data);
        return attempt(() => stamper.analytics(item.user_id ?? userId, item, String(data), ['body', 'analytics', i]));
      });
      if (issues.length > 0) throw new ApiError('validation_failed', { issues });
      return { metrics, analytics };
    },
  };
  return stamper;
}
