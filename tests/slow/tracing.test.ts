import { afterAll, beforeAll, expect, test } from 'bun:test';
import { createOtlpTracer } from '../../src/http/trace-exporter.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Traces, exported to a receiver of OTLP over HTTP.
 */

interface ExportedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: object }[];
}

const spans: ExportedSpan[] = [];
let bodies = '';
const keys = new Set<string | null>();
let isRejecting = false;
let isHanging = false;
let exported = Promise.withResolvers<void>();
const receiver = Bun.serve({
  port: 0,
  async fetch(request) {
    if (isRejecting) return new Response(null, { status: 401 });
    if (isHanging) return new Promise<Response>(() => {});
    keys.add(request.headers.get('x-key'));
    const text = await request.text();
    bodies += text;
    for (const { scopeSpans } of JSON.parse(text).resourceSpans)
      for (const scope of scopeSpans) spans.push(...scope.spans);
    exported.resolve();
    exported = Promise.withResolvers();
    return Response.json({});
  },
});

let target: Target;
beforeAll(async () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${receiver.port}`;
  target = await startTarget({
    ...UNLIMITED,
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_TRACES_SAMPLER_ARG: '1e-9', // samples the lowest trace IDs
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=k',
  });
});
afterAll(() => receiver.stop(true));

/** The XOR of its four parts, which decides on the sample, is 0. */
const TRACE = '0af7651916cd43dd0af7651916cd43dd';
/** Not sampled at the ratio. */
const OTHER_TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const traced = (flags: string, id = TRACE) => ({ traceparent: `00-${id}-${PARENT}-${flags}` });

/** Returns the spans of a trace once there are as many as expected, each with the name of the span above it. */
async function tree(count: number): Promise<string[]> {
  const inTrace = () => spans.filter(({ traceId }) => traceId === TRACE);
  while (inTrace().length < count) await exported.promise;
  const nameOf = (id?: string) => (id === PARENT ? 'caller' : inTrace().find(({ spanId }) => spanId === id)?.name);
  return inTrace()
    .map(({ name, parentSpanId }) => `${nameOf(parentSpanId)} > ${name}`)
    .sort();
}

test('exports the spans of requests that both their traceparent and the ratio sample, without values', async () => {
  const user = 'ada@x.example';
  const headers = { authorization: `Bearer ${await token({ sub: user })}` };
  expect((await post(target, '/log_raw_metric', METRIC, { ...headers, ...traced('00') })).status).toBe(200);
  expect((await post(target, '/log_raw_metric', METRIC, { ...headers, ...traced('01', OTHER_TRACE) })).status).toBe(
    200,
  );
  expect((await post(target, '/log_raw_metric', METRIC, { ...headers, ...traced('01') })).status).toBe(200);
  const series = `${target.url}/api/metrics/series?name=${METRIC.metric_name}&user_id=${user}`;
  expect((await send(series, { headers: { ...headers, ...traced('01') } })).status).toBe(200);
  const rejected = await send(`${target.url}/api/status`, { headers: traced('01') });
  expect(await tree(6)).toEqual([
    'GET /api/metrics/series > query',
    'GET /api/metrics/series > query queue',
    'POST /log_raw_metric > commit queue',
    'caller > GET /api/metrics/series',
    'caller > GET /api/status',
    'caller > POST /log_raw_metric',
  ]);
  for (const { startTimeUnixNano: start, endTimeUnixNano: end } of spans) {
    expect(BigInt(end)).toBeGreaterThanOrEqual(BigInt(start));
  }
  expect(spans.find(({ name }) => name === 'GET /api/status')?.attributes).toEqual([
    { key: 'http.request.method', value: { stringValue: 'GET' } },
    { key: 'http.route', value: { stringValue: '/api/status' } },
    { key: 'http.response.status_code', value: { intValue: 401 } },
    { key: 'rawlog.request_id', value: { stringValue: rejected.body.request_id } },
  ]);
  expect(keys).toEqual(new Set(['k']));
  expect(bodies).not.toContain('ada@');
  expect(bodies).not.toContain(METRIC.metric_name);
  expect(spans.every(({ traceId }) => traceId === TRACE)).toBe(true);
});

test('a child that comes after the end of its span is kept, as the last parts of an export are', async () => {
  const tracer = createOtlpTracer({ url: `http://127.0.0.1:${receiver.port}/v1/traces`, ratio: 1 }, () => {});
  const span = tracer.request('GET', null);
  span?.end('GET /late', {}, false);
  span?.child('late', performance.now(), performance.now());
  await tracer.flush();
  const [request, child] = ['GET /late', 'late'].map((name) => spans.find((exported) => exported.name === name));
  expect(child?.parentSpanId).toBe(String(request?.spanId));
});

test('logs that an export failed, without the URL', async () => {
  isRejecting = true;
  await send(`${target.url}/healthz`, { headers: traced('01') });
  const { level, reason } = await target.logged(({ msg }) => msg === 'traces could not be exported');
  expect({ level, reason }).toEqual({ level: 'warn', reason: 401 });
  isRejecting = false;
});

test('a receiver that does not respond does not delay the stop', async () => {
  isHanging = true;
  await send(`${target.url}/healthz`, { headers: traced('01') });
  expect(await target.stop()).toBe(0);
});
