import type { operations } from './schema.ts';

/*
 * Uses the types that openapi-typescript generates against a server: bun consumer.ts URL TOKEN ADMIN
 */

declare const process: { argv: string[] };
const [url = '', token = '', admin = ''] = process.argv.slice(2);

type Operation = keyof operations;
/** The content of a 200 response in JSON. */
type Result<Id extends Operation> = operations[Id]['responses'][200] extends {
  content: { 'application/json': infer Content };
}
  ? Content
  : never;
type Body<Id extends Operation> = operations[Id] extends {
  requestBody: { content: { 'application/json': infer Content } };
}
  ? Content
  : undefined;
type Query<Id extends Operation> = operations[Id]['parameters'] extends { query?: infer Parameters }
  ? Parameters
  : undefined;

/** Calls an operation. Its route is an argument because types do not exist at run time. */
async function call<Id extends Operation>(
  route: `${'GET' | 'POST' | 'DELETE'} /${string}`,
  { body, query = {}, bearer = token }: { body?: Body<Id>; query?: Query<Id> | object; bearer?: string } = {},
): Promise<Result<Id>> {
  const [method = '', path = ''] = route.split(' ');
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one));
  }
  const response = await fetch(`${url}${path}?${parameters}`, {
    method,
    headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (response.status !== 200) throw new Error(`${route}: ${await response.text()}`);
  return (await response.json()) as Result<Id>;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

const metric = { metric_name: 'load_time', metric_value: 2.5, data_string: '/a' };
const event = { type: 'step', data: { plan: 'pro', cost: 3 }, data_index: 'one' };
const id: string = await call<'recordMetric'>('POST /log_raw_metric', { body: metric });
check(id.length === 36, 'the ID of a metric');
check((await call<'recordEvent'>('POST /log_raw_analytics', { body: event })).length === 36, 'the ID of an event');
const ids = await call<'recordBatch'>('POST /log_batch', {
  body: { metrics: [metric], analytics: [event, { ...event, data_index: 'two' }] },
});
check(ids.metrics.length === 1 && ids.analytics.length === 2, 'the IDs of a batch');

const names = await call<'listMetrics'>('GET /api/metrics');
check(names.metrics[0]?.count === 2, 'the names of metrics');
check((await call<'listEventTypes'>('GET /api/analytics')).types[0]?.type === 'step', 'the types of events');

const series = await call<'getMetricSeries'>('GET /api/metrics/series', {
  query: { name: 'load_time', interval: 'day', group_by: 'data_string', 'data_string!': ['/b'] },
});
check(series.count === 2 && series.buckets[0]?.p95 === 2.5, 'a series');
check(series.groups?.[0]?.data_string === '/a', 'the groups of a series');

const counts = await call<'countEvents'>('GET /api/analytics/counts', {
  query: { type: 'step', group_by: 'data.plan', sum: 'data.cost' },
});
check(counts.groups?.[0]?.['data.plan'] === 'pro' && counts.groups[0].sum === 9, 'the groups of counts');
check(counts.groups?.[0]?.buckets[0]?.unique_users === 1, 'the buckets of a group');

const funnel = await call<'getFunnel'>('GET /api/analytics/funnel', { query: { type: 'step', step: ['one', 'two'] } });
check(funnel.steps[1]?.users === 1, 'a funnel');
const retention = await call<'getRetention'>('GET /api/analytics/retention', { query: { type: 'step', step: 'one' } });
check(retention.cohorts[0]?.users === 1, 'cohort retention');
check((await call<'getActivity'>('GET /api/activity')).starts.length === 1, 'activity');
const page = await call<'listEventRecords'>('GET /api/records/analytics', { query: { type: 'step', limit: 1 } });
check(page.records[0]?.data['plan'] === 'pro' && page.next_cursor !== null, 'a page of records');
check((await call<'listRejections'>('GET /api/rejections')).rejections.length === 0, 'rejections');
check(
  (await call<'getTimeZone'>('GET /api/zone', { query: { tz: 'Europe/Berlin' } })).tz === 'Europe/Berlin',
  'a zone',
);

const status = await call<'getStatus'>('GET /api/status', { bearer: admin });
check('ledger' in status && status.ledger.stored === 5, 'the status for operators');
check(!('ledger' in (await call<'getStatus'>('GET /api/status'))), 'the status for users');
check((await call<'listAuditEntries'>('GET /api/audit', { bearer: admin })).entries.length === 0, 'the audit log');

const missing = await fetch(`${url}/log_raw_metric`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
type Rejection = operations['recordMetric']['responses'][422]['content']['application/json'];
const error = (await missing.json()) as Rejection;
check(['invalid_json', 'validation_failed'].includes(error.code) && error.hint !== '', 'an error');
