import { Elysia } from 'elysia';
import { ApiError, type ValidationIssue } from '../../errors.ts';
import { parseExact } from '../../formats/json.ts';
import { laxNumber } from '../../formats/lax-number.ts';
import type { NameUse } from '../../ingest/user-names.ts';
import type { ReceivedHandler } from '../../receiving/receivers.ts';
import { analyticsCheck, type Batch, batchCheck, metricCheck } from '../../records.ts';
import { aliasesOf } from '../aliases.ts';
import { documentRecording } from '../openapi.ts';
import { type RecordingParts, recordingHandlers, type Share } from '../recording-handler.ts';
import { batchSizeIssues, validate, validateLax } from '../validation.ts';

// paths in the bodies of the single routes, created once
const BODY: ValidationIssue['loc'] = ['body'];
const METRIC_NAME: ValidationIssue['loc'] = ['body', 'metric_name'];
const EVENT_TYPE: ValidationIssue['loc'] = ['body', 'type'];

/** Where the routes add their handlers for requests that receivers have read. */
export interface ReceivedRoutes {
  /** By path; undefined without receivers. */
  readonly received: Map<string, ReceivedHandler> | undefined;
}

/** Creates the recording routes that return the IDs of their records. They store all items of a request, or none. */
export function recordingRoutes(parts: RecordingParts & ReceivedRoutes) {
  const { stamper, received } = parts;
  const { maxBatchItems } = parts.limits;
  const createHandler = recordingHandlers(parts);

  const recordMetric = createHandler({
    path: '/log_raw_metric',
    countItems: () => 1,
    check: (value) => validateLax(metricCheck, withLaxValue(value)),
    sharesOf: (userId, body) => [{ userId, names: [{ kind: 'metric', name: body.metric_name, loc: METRIC_NAME }] }],
    prepare({ userId, body, shares, isAnyAge }, admit) {
      const record = stamper.metric(userId, body, isAnyAge, BODY);
      return { records: [record], names: admit(shares), response: `"${record.id}"` };
    },
  });
  const recordAnalytics = createHandler({
    path: '/log_raw_analytics',
    countItems: () => 1,
    check: (value) => validate('body', analyticsCheck, value),
    sharesOf: (userId, body) => [{ userId, names: [{ kind: 'analytics', name: body.type, loc: EVENT_TYPE }] }],
    prepare({ userId, body, text, shares, isAnyAge }, admit) {
      const data = parseExact(text)?.at('data') ?? JSON.stringify(body.data);
      const record = stamper.analytics(userId, body, String(data), isAnyAge, BODY);
      return { records: [record], names: admit(shares), response: `"${record.id}"` };
    },
  });
  const recordBatch = createHandler({
    path: '/log_batch',
    countItems: countBatchItems,
    check(value) {
      const body = validate('body', batchCheck, value);
      const items = (body.metrics?.length ?? 0) + (body.analytics?.length ?? 0);
      const issues = batchSizeIssues(items, maxBatchItems);
      if (issues.length > 0) throw new ApiError('validation_failed', { issues });
      return body;
    },
    sharesOf: sharesOfBatch,
    prepare({ userId, body, text, shares, isAnyAge }, admit) {
      const { metrics, analytics } = stamper.batch(userId, body, parseExact(text), isAnyAge);
      const ids = { metrics: metrics.map(({ id }) => id), analytics: analytics.map(({ id }) => id) };
      return { records: [...metrics, ...analytics], names: admit(shares), response: JSON.stringify(ids) };
    },
  });

  const app = new Elysia({ name: 'recording' });
  const hidden = { parse: 'none', detail: { hide: true } } as const;
  for (const alias of aliasesOf('/log_raw_metric')) {
    app.post(alias, recordMetric.onRequest, hidden);
    received?.set(alias, recordMetric.onReceived);
  }
  for (const alias of aliasesOf('/log_raw_analytics')) {
    app.post(alias, recordAnalytics.onRequest, hidden);
    received?.set(alias, recordAnalytics.onReceived);
  }
  received?.set('/log_raw_metric', recordMetric.onReceived);
  received?.set('/log_raw_analytics', recordAnalytics.onReceived);
  received?.set('/log_batch', recordBatch.onReceived);
  return app
    .post('/log_raw_metric', recordMetric.onRequest, {
      parse: 'none',
      detail: documentRecording(
        'recordMetric',
        'Record one metric',
        "Stores one measured value, such as a page load time, for the token's user.",
        'Metric',
        'RecordId',
      ),
    })
    .post('/log_raw_analytics', recordAnalytics.onRequest, {
      parse: 'none',
      detail: documentRecording(
        'recordEvent',
        'Record one event',
        "Stores one event, such as a completed tutorial step, for the token's user.",
        'Analytics',
        'RecordId',
      ),
    })
    .post('/log_batch', recordBatch.onRequest, {
      parse: 'none',
      detail: documentRecording(
        'recordBatch',
        'Record a batch of metrics and events',
        `Stores 1 to ${maxBatchItems} metrics and events in one transaction: all of them or none.`,
        'Batch',
        'BatchIds',
      ),
    });
}

/** Returns the number of items in the parsed body of a batch before validation; at least 1. */
function countBatchItems(body: unknown): number {
  if (typeof body !== 'object' || body === null) return 1;
  const lists = ['metrics', 'analytics'].map((name) => (body as Record<string, unknown>)[name]).filter(Array.isArray);
  return Math.max(
    1,
    lists.reduce((sum, list) => sum + list.length, 0),
  );
}

/** Returns a body with its value converted to a number wherever the original service converts it. */
function withLaxValue(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  const { metric_value: value } = body as Record<string, unknown>;
  if (typeof value !== 'string' && typeof value !== 'boolean') return body;
  return { ...body, metric_value: laxNumber(value) };
}

function sharesOfBatch(userId: string, { metrics = [], analytics = [] }: Batch): Share[] {
  const shares = new Map<string, Share>();
  const add = (user: string, use: NameUse) => {
    const share = shares.get(user);
    if (share) share.names.push(use);
    else shares.set(user, { userId: user, names: [use] });
  };
  metrics.forEach(({ user_id: user = userId, metric_name: name }, i) => {
    add(user, { kind: 'metric', name, loc: ['body', 'metrics', i, 'metric_name'] });
  });
  analytics.forEach(({ user_id: user = userId, type: name }, i) => {
    add(user, { kind: 'analytics', name, loc: ['body', 'analytics', i, 'type'] });
  });
  return [...shares.values()];
}
