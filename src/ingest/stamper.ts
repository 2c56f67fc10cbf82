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

/**
 * Converts validated bodies to records by assigning their IDs and times. Timestamps are compared with the age limit unless
 * `isAnyAge` is true.
 */
export interface Stamper {
  /**
   * Returns the record of a metric.
   *
   * @param loc the position of the body in the request
   * @throws {ApiError} `validation_failed` if the timestamp is out of range
   */
  metric(userId: string, body: Metric, isAnyAge: boolean, loc: ValidationIssue['loc']): MetricRecord;
  /**
   * Returns the record of an event.
   *
   * @param data the event's data as JSON text
   * @throws {ApiError} `validation_failed` if the timestamp is out of range
   */
  analytics(
    userId: string,
    body: Analytics,
    data: string,
    isAnyAge: boolean,
    loc: ValidationIssue['loc'],
  ): AnalyticsRecord;
  /**
   * Returns the records of a batch.
   *
   * @param userId the user of items without a `user_id`
   * @param exact the exact text of the batch if parsing changed it; the events' data is then taken from this text
   * @throws {ApiError} `validation_failed` with an issue for each timestamp that is out of range
   */
  batch(
    userId: string,
    body: Batch,
    exact: ExactJson | undefined,
    isAnyAge: boolean,
  ): { metrics: MetricRecord[]; analytics: AnalyticsRecord[] };
}

/**
 * Creates a stamper.
 *
 * @param now returns the time in milliseconds since 1970
 * @param maxSkewUs how far a timestamp may be ahead of the clock
 * @param ageLimitUs how far it may be behind; undefined for no limit
 */
export function createStamper(
  nextId: () => RecordId,
  now: () => number,
  maxSkewUs: number,
  ageLimitUs = Number.POSITIVE_INFINITY,
): Stamper {
  function timeOf(
    text: string | undefined,
    receivedAt: number,
    isAnyAge: boolean,
    loc: ValidationIssue['loc'],
  ): number {
    const time = happenedAt(text, receivedAt, maxSkewUs, isAnyAge ? Number.POSITIVE_INFINITY : ageLimitUs, loc);
    if (typeof time !== 'number') throw new ApiError('validation_failed', { issues: [time] });
    return time;
  }

  const stamper: Stamper = {
    metric(userId, body, isAnyAge, loc) {
      const receivedAt = now() * 1000;
      const happenedAt = timeOf(body.timestamp, receivedAt, isAnyAge, loc);
      const { id, seq, randomPart } = nextId();
      const { metric_name: metricName, metric_value: metricValue, data_string: dataString = '' } = body;
      return {
        kind: 'metric',
        seq,
        id,
        randomPart,
        userId,
        happenedAt,
        receivedAt,
        metricName,
        metricValue,
        dataString,
      };
    },
    analytics(userId, body, data, isAnyAge, loc) {
      const receivedAt = now() * 1000;
      const happenedAt = timeOf(body.timestamp, receivedAt, isAnyAge, loc);
      const { id, seq, randomPart } = nextId();
      const { type, data_index: dataIndex = '' } = body;
      return { kind: 'analytics', seq, id, randomPart, userId, happenedAt, receivedAt, type, dataIndex, data };
    },
    batch(userId, body, exact, isAnyAge) {
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
        attempt(() => stamper.metric(item.user_id ?? userId, item, isAnyAge, ['body', 'metrics', i])),
      );
      const exactEvents = exact?.at('analytics');
      const analytics = (body.analytics ?? []).flatMap((item, i) => {
        const data = exactEvents?.at(i)?.at('data') ?? JSON.stringify(item.data);
        const loc = ['body', 'analytics', i] as const;
        return attempt(() => stamper.analytics(item.user_id ?? userId, item, String(data), isAnyAge, loc));
      });
      if (issues.length > 0) throw new ApiError('validation_failed', { issues });
      return { metrics, analytics };
    },
  };
  return stamper;
}
