import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { gzipSync } from 'node:zlib';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { AggregationTemporality, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import fc from 'fast-check';
import { expectError, expectLimited, type HttpResponse, METRIC, post, rows, send } from '../harness/client.ts';
import { SECRET, startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const PATH = '/v1/metrics';
const DELTA = 1;
const CUMULATIVE = 2;
/** 2026-01-01T00:00:00.123456789Z, in nanoseconds. */
const TIME = '1767225600123456789';
const MICROSECONDS = 1767225600123456;

let target: Target;
beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, MAX_BATCH_ITEMS: '40', MAX_BODY_BYTES: '20000' });
});
afterAll(() => target.stop());

let users = 0;
/** Returns the header of a user without rows. */
async function newUser(claims: object = {}): Promise<{ authorization: string; sub: string }> {
  const sub = `otlp-${++users}`;
  return { authorization: `Bearer ${await token({ sub, ...claims })}`, sub };
}

type Json = Record<string, unknown>;

/** Returns an export request with metrics of one scope. */
const exportOf = (...metrics: Json[]) => ({
  resourceMetrics: [
    {
      resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
      scopeMetrics: [{ scope: { name: 'tests' }, metrics }],
    },
  ],
});
const point = (value: unknown, more: Json = {}): Json => ({ timeUnixNano: TIME, asDouble: value, ...more });
const gauge = (name: string, ...dataPoints: Json[]): Json => ({ name, unit: 's', gauge: { dataPoints } });
const sum = (name: string, aggregationTemporality: number, isMonotonic: boolean, ...dataPoints: Json[]): Json => ({
  name,
  sum: { aggregationTemporality, isMonotonic, dataPoints },
});
const attribute = (key: string, value: Json): Json => ({ key, value });

/** Returns the stored metrics of a user as name, value, label and time. */
const stored = (sub: string, from = target) =>
  rows(from, 'metrics')
    .filter(({ user_id }) => user_id === sub)
    .map(({ metric_name, metric_value, data_string, happened_at }) => [
      metric_name,
      metric_value,
      data_string,
      happened_at,
    ]);

/** Sends metrics as a new user, and returns the response with what is stored. */
async function record(...metrics: Json[]): Promise<{ response: HttpResponse; stored: unknown[][] }> {
  const { sub, ...headers } = await newUser();
  const response = await post(target, PATH, exportOf(...metrics), headers);
  return { response, stored: stored(sub) };
}

/** Returns the ledger, after checking that it balances. */
async function ledger(from = target) {
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  const { body } = await send(`${from.url}/api/status`, { headers });
  const { received, stored: kept, duplicates, rejected } = body.ledger;
  const sumOfRejected = Object.values<number>(rejected).reduce((a, b) => a + b, 0);
  expect(received).toBe(kept + duplicates + sumOfRejected);
  return { received, stored: kept, duplicates, rejected };
}

describe('the mapping', () => {
  test('stores one metric per data point of gauges, delta sums and cumulative sums that can decrease', async () => {
    const { response, stored } = await record(
      gauge('temperature', point(21.5), point(-3)),
      sum('orders', DELTA, true, { timeUnixNano: TIME, asInt: '3' }),
      sum('balance', DELTA, false, point(-2.5)),
      sum('queue_length', CUMULATIVE, false, { timeUnixNano: TIME, asInt: 7 }),
    );
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.body).toEqual({});
    expect(stored).toEqual([
      ['temperature', 21.5, '', MICROSECONDS],
      ['temperature', -3, '', MICROSECONDS],
      ['orders', 3, '', MICROSECONDS],
      ['balance', -2.5, '', MICROSECONDS],
      ['queue_length', 7, '', MICROSECONDS],
    ]);
  });

  test('stores 64-bit integers as the nearest double', async () => {
    const integers = ['9007199254740993', '-9223372036854775808', 9007199254740991, '0'];
    const { stored } = await record(gauge('n', ...integers.map((asInt) => ({ timeUnixNano: TIME, asInt }))));
    expect(stored.map(([, value]) => value)).toEqual([2 ** 53, -(2 ** 63), 2 ** 53 - 1, 0]);
  });

  test('accepts doubles as strings', async () => {
    const { response, stored } = await record(gauge('n', point('2.5'), point('-1e-3')));
    expect(response.body).toEqual({});
    expect(stored.map(([, value]) => value)).toEqual([2.5, -0.001]);
  });

  test('the label is the attributes, sorted by key, with a distinct text for distinct attributes', async () => {
    const label = async (...attributes: Json[]) => (await record(gauge('n', point(1, { attributes })))).stored[0]?.[2];
    expect(
      await label(
        attribute('route', { stringValue: '/search?q=a,b\\' }),
        attribute('http.status', { intValue: '200' }),
        attribute('cached', { boolValue: false }),
      ),
    ).toBe('cached=false,http.status=200,route=/search?q=a\\,b\\\\');
    expect(await label(attribute('a,b=c\\', { stringValue: 'd' }))).toBe('a\\,b\\=c\\\\=d');
    expect(await label(attribute('a', { stringValue: '' }))).toBe('a=');
    expect(await label({ key: 'a' })).toBe('a=');
    expect(await label(attribute('a', { doubleValue: 0.1 }))).toBe('a=0.1');
    expect(await label(attribute('a', { doubleValue: 'NaN' }))).toBe('a=NaN');
    expect(await label(attribute('a', { intValue: '9223372036854775807' }))).toBe('a=9223372036854775807');
    expect(await label(attribute('a', { bytesValue: '3q2+7w==' }))).toBe('a=3q2+7w==');
    expect(await label(attribute('a', { stringValue: '1' }), attribute('a', { stringValue: '2' }))).toBe('a=2');
    const nested = {
      kvlistValue: {
        values: [
          attribute('z', {
            arrayValue: { values: [{ stringValue: 'x' }, { intValue: '1' }, { doubleValue: 'NaN' }, {}] },
          }),
          attribute('b', { kvlistValue: {} }),
        ],
      },
    };
    expect(await label(attribute('a', nested))).toBe('a={"b":{}\\,"z":["x"\\,1\\,"NaN"\\,null]}');
  });

  test('truncates times to microseconds, and uses the time of receipt if a data point has none', async () => {
    const before = Date.now() * 1000;
    const { stored } = await record(
      gauge('n', point(1), { asDouble: 2 }, point(3, { timeUnixNano: '0' }), point(4, { timeUnixNano: 1.5e18 })),
    );
    const times = stored.map(([, , , time]) => Number(time));
    expect([times[0], times[3]]).toEqual([MICROSECONDS, 1.5e15]);
    for (const time of times.slice(1, 3)) expect(time).toBeWithin(before, Date.now() * 1000 + 1);
  });

  test('ignores unknown fields, and accepts an empty request', async () => {
    const { sub, ...headers } = await newUser();
    const before = await ledger();
    for (const body of [{}, { resourceMetrics: [] }, exportOf(), exportOf({ name: 'x' }), exportOf(gauge('x'))]) {
      const response = await post(target, PATH, body, headers);
      expect([response.status, response.body]).toEqual([200, {}]);
    }
    const { status } = await post(target, PATH, { ...exportOf(gauge('n', point(1, { new: [] }))), later: 1 }, headers);
    expect(status).toBe(200);
    expect(stored(sub)).toHaveLength(1);
    expect(await ledger()).toEqual({ ...before, received: before.received + 1, stored: before.stored + 1 });
  });
});

describe('partial success', () => {
  const HISTOGRAM = {
    histogram: { aggregationTemporality: DELTA, dataPoints: [{ count: '2', sum: 3 }, { count: '1' }] },
  };

  test('reports every data point that is not stored, with the reason and the place, and stores the others', async () => {
    const far = String((BigInt(Date.now()) + 3_600_000n) * 1_000_000n);
    const metrics = [
      gauge('good', point(1)),
      { name: 'latency', ...HISTOGRAM },
      { name: 'latency2', exponentialHistogram: { dataPoints: [{}] } },
      { name: 'latency3', summary: { dataPoints: [{}] } },
      sum('total', CUMULATIVE, true, point(5)),
      sum('unknown', 0, true, point(5)),
      gauge(
        'values',
        point('NaN'),
        point('-Infinity'),
        point(null),
        { timeUnixNano: TIME },
        point(1, { flags: 1 }),
        point(1, { timeUnixNano: far }),
        point(1, { attributes: [attribute('a', { stringValue: 'x'.repeat(8_192) })] }),
      ),
      gauge('', point(1)),
      gauge('x'.repeat(1_025), point(1)),
      gauge('good', point(2)),
    ];
    const { sub, ...headers } = await newUser();
    const before = await ledger();
    const response = await post(target, PATH, exportOf(...metrics), headers);
    expect(response.status).toBe(200);
    expect(Object.keys(response.body)).toEqual(['partialSuccess']);
    const { rejectedDataPoints, errorMessage } = response.body.partialSuccess;
    expect(rejectedDataPoints).toBe('15');
    const at = (path: string) => `(first: resourceMetrics[0].scopeMetrics[0].metrics${path})`;
    expect(errorMessage.split('. ').map((text: string) => text.replace(/\.$/, ''))).toEqual([
      `2 not stored: histograms are not supported, because a metric is a single value ${at('[1].histogram.dataPoints[0]')}`,
      `1 not stored: exponential histograms are not supported, because a metric is a single value ${at('[2].exponentialHistogram.dataPoints[0]')}`,
      `1 not stored: summaries are not supported, because a metric is a single value ${at('[3].summary.dataPoints[0]')}`,
      `1 not stored: cumulative counters are not supported, because their rows cannot be added up; export deltas ${at('[4].sum.dataPoints[0]')}`,
      `1 not stored: the aggregation temporality of the sum is unknown ${at('[5].sum.dataPoints[0]')}`,
      `2 not stored: the value is not a finite number ${at('[6].gauge.dataPoints[0]')}`,
      `2 not stored: the data point has no value ${at('[6].gauge.dataPoints[2]')}`,
      `1 not stored: the data point has no recorded value ${at('[6].gauge.dataPoints[4]')}`,
      `1 not stored: String should have at most 8192 characters ${at('[6].gauge.dataPoints[6].attributes')}`,
      `1 not stored: String should have at least 1 character ${at('[7].name')}`,
      `1 not stored: String should have at most 1024 characters ${at('[8].name')}`,
      expect.stringMatching(/^1 not stored: the timestamp is more than \d+ s ahead of the server's clock /),
    ]);
    expect(errorMessage).toEndWith(`${at('[6].gauge.dataPoints[5].timeUnixNano')}.`);
    expect(stored(sub).map(([name, value]) => [name, value])).toEqual([
      ['good', 1],
      ['good', 2],
    ]);
    const after = await ledger();
    expect([after.received - before.received, after.stored - before.stored]).toEqual([17, 2]);

    const { body } = await send(`${target.url}/api/rejections?limit=1`, { headers });
    expect(body.rejections).toMatchObject([
      {
        code: 'validation_failed',
        route: PATH,
        items: 15,
        user_id: sub,
        request_id: response.headers.get('x-request-id'),
      },
    ]);
    expect(body.rejections[0].issues).toHaveLength(15);
    expect(body.rejections[0].issues[0]).toEqual({
      loc: ['body', 'resourceMetrics', 0, 'scopeMetrics', 0, 'metrics', 1, 'histogram', 'dataPoints', 0],
      msg: 'Value error, histograms are not supported, because a metric is a single value',
      type: 'value_error',
    });
  });

  test('reports exemplars without rejecting their data points', async () => {
    const { response, stored } = await record(gauge('n', point(1, { exemplars: [{ asInt: '1' }, {}] }), point(2)));
    expect(response.body).toEqual({
      partialSuccess: { rejectedDataPoints: '0', errorMessage: 'Exemplars are not stored (2 of them).' },
    });
    expect(stored).toHaveLength(2);
  });

  test('a request whose data points are all rejected stores nothing', async () => {
    const { response, stored } = await record({ name: 'latency', ...HISTOGRAM });
    expect([response.status, response.body.partialSuccess.rejectedDataPoints]).toEqual([200, '2']);
    expect(stored).toEqual([]);
  });

  test('rejects the data points of names that NAMES does not allow, or that exceed MAX_NAMES_PER_USER', async () => {
    const limited = await startTarget({ ...UNLIMITED, NAMES: 'ok_*', MAX_NAMES_PER_USER: '3' });
    try {
      const { sub, ...headers } = await newUser();
      const names = ['ok_1', 'other', 'ok_2', 'ok_3', 'ok_4', 'ok_1', 'ok_4', 'ok_5'];
      const { body } = await post(limited, PATH, exportOf(...names.map((name) => gauge(name, point(1)))), headers);
      expect(body.partialSuccess.rejectedDataPoints).toBe('4');
      expect(body.partialSuccess.errorMessage).toContain('1 not stored: this name may not be recorded (first: ');
      expect(body.partialSuccess.errorMessage).toContain(
        '3 not stored: a user may record at most 3 distinct metric names and event types (first: resourceMetrics[0].scopeMetrics[0].metrics[4].name)',
      );
      expect(stored(sub, limited).map(([name]) => name)).toEqual(['ok_1', 'ok_2', 'ok_3', 'ok_1']);
      const again = await post(limited, PATH, exportOf(gauge('ok_3', point(2)), gauge('ok_6', point(2))), headers);
      expect(again.body.partialSuccess.rejectedDataPoints).toBe('1');
      expect(await ledger(limited)).toMatchObject({
        received: 10,
        stored: 5,
        rejected: { validation_failed: 1, too_many_names: 4 },
      });
    } finally {
      await limited.stop();
    }
  });

  test('stores or reports every data point of any mix', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.record({
              value: fc.double(),
              temporality: fc.constantFrom(0, DELTA, CUMULATIVE),
              isMonotonic: fc.boolean(),
            }),
            fc.constant('histogram' as const),
          ),
          { maxLength: 40 },
        ),
        async (points) => {
          const isGood = (one: (typeof points)[number]) =>
            one !== 'histogram' &&
            Number.isFinite(one.value) &&
            (one.temporality === DELTA || (one.temporality === CUMULATIVE && !one.isMonotonic));
          const good = points.filter(isGood).map((one) => (one === 'histogram' ? Number.NaN : one.value + 0));
          const metrics = points.map((one) =>
            one === 'histogram'
              ? { name: 'h', histogram: { dataPoints: [{}] } }
              : sum(
                  'n',
                  one.temporality,
                  one.isMonotonic,
                  point(Number.isFinite(one.value) ? one.value : String(one.value)),
                ),
          );
          const before = await ledger();
          const { response, stored } = await record(...metrics);
          const rejected = Number(response.body.partialSuccess?.rejectedDataPoints ?? 0);
          expect([response.status, rejected]).toEqual([200, points.length - good.length]);
          expect(stored.map(([, value]) => value)).toEqual(good);
          const after = await ledger();
          expect([after.received - before.received, after.stored - before.stored]).toEqual([
            points.length,
            good.length,
          ]);
        },
      ),
      { numRuns: 40 },
    ));
});

describe('retries', () => {
  test('a repeated request without a key is stored once, also at the same time and gzipped', async () => {
    const { sub, ...headers } = await newUser();
    const body = JSON.stringify(exportOf(gauge('n', point(1)), { name: 'h', histogram: { dataPoints: [{}] } }));
    const before = await ledger();
    const gzipped = { ...headers, 'content-encoding': 'gzip' };
    const responses = await Promise.all([
      post(target, PATH, body, headers),
      post(target, PATH, body, headers),
      post(target, PATH, gzipSync(body), gzipped),
    ]);
    responses.push(await post(target, PATH, body, headers));
    for (const response of responses) expect(response.body).toEqual(responses[0]?.body);
    const replayed = responses.filter(({ headers }) => headers.get('idempotent-replayed') === 'true');
    expect(replayed).toHaveLength(3);
    expect(stored(sub)).toHaveLength(1);
    const after = await ledger();
    expect([after.received - before.received, after.stored - before.stored]).toEqual([8, 1]);
    expect(after.duplicates - before.duplicates).toBe(6);
  });

  test('the same data points of another user, or with another value, are stored', async () => {
    const [one, other] = [await newUser(), await newUser()];
    for (const { sub, ...headers } of [one, other]) {
      await post(target, PATH, exportOf(gauge('n', point(1))), headers);
      await post(target, PATH, exportOf(gauge('n', point(2))), headers);
      expect(stored(sub)).toHaveLength(2);
    }
  });

  test('equal requests without times are not taken for retries', async () => {
    const { sub, ...headers } = await newUser();
    for (let i = 0; i < 2; i++) await post(target, PATH, exportOf(gauge('n', { asInt: '1' })), headers);
    expect(stored(sub)).toHaveLength(2);
  });

  test('an Idempotency-Key works as on other routes', async () => {
    const { sub, ...headers } = await newUser();
    const key = { ...headers, 'idempotency-key': 'k' };
    const body = exportOf(gauge('n', { asInt: '1' }));
    expect((await post(target, PATH, body, key)).headers.get('idempotent-replayed')).toBeNull();
    expect((await post(target, PATH, body, key)).headers.get('idempotent-replayed')).toBe('true');
    expectError(await post(target, PATH, exportOf(gauge('n', { asInt: '2' })), key), 422, 'idempotency_mismatch');
    expect((await post(target, PATH, {}, { ...key, 'idempotency-key': 'empty' })).body).toEqual({});
    expect((await post(target, PATH, {}, { ...key, 'idempotency-key': 'empty' })).body).toEqual({});
    expect(stored(sub)).toHaveLength(1);
  });
});

describe('rejected requests', () => {
  test('requires a token before it reads the body', async () => {
    expectError(await post(target, PATH, '{', { authorization: '' }), 401, 'unauthorized');
    const { authorization } = await newUser({ exp: 1 });
    expectError(await post(target, PATH, '{', { authorization }), 401, 'unauthorized');
  });

  test('rejects Protobuf', async () => {
    const headers = { 'content-type': 'application/x-protobuf' };
    expectError(await post(target, PATH, Buffer.from([10, 0]), headers), 415, 'unsupported_media_type');
  });

  test.each([
    [[], ['body']],
    [{ resourceMetrics: {} }, ['body', 'resourceMetrics']],
    [exportOf({ name: 1 }), ['body', 'resourceMetrics', 0, 'scopeMetrics', 0, 'metrics', 0, 'name']],
    [
      exportOf(gauge('n', point('soon'))),
      ['body', 'resourceMetrics', 0, 'scopeMetrics', 0, 'metrics', 0, 'gauge', 'dataPoints', 0, 'asDouble'],
    ],
    [
      exportOf(gauge('n', point(1, { timeUnixNano: 1e300 }))),
      ['body', 'resourceMetrics', 0, 'scopeMetrics', 0, 'metrics', 0, 'gauge', 'dataPoints', 0, 'timeUnixNano'],
    ],
    [
      exportOf(gauge('n', point(1, { timeUnixNano: '-1' }))),
      ['body', 'resourceMetrics', 0, 'scopeMetrics', 0, 'metrics', 0, 'gauge', 'dataPoints', 0, 'timeUnixNano'],
    ],
    [
      exportOf(gauge('n', point(1, { timeUnixNano: 1e22 }))),
      ['body', 'resourceMetrics', 0, 'scopeMetrics', 0, 'metrics', 0, 'gauge', 'dataPoints', 0, 'timeUnixNano'],
    ],
  ])('rejects a body that is no export request: %j', async (body, loc) => {
    const response = await post(target, PATH, body);
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail[0].loc).toEqual(loc);
  });

  test('any value at any place is stored, reported or rejected, and never fails', () => {
    const place = fc.constantFrom(
      ...[
        'resourceMetrics',
        'scopeMetrics',
        'metrics',
        'gauge',
        'sum',
        'dataPoints',
        'name',
        'asDouble',
        'asInt',
        'flags',
      ],
      ...['timeUnixNano', 'attributes', 'key', 'value', 'stringValue', 'intValue', 'doubleValue', 'arrayValue'],
      ...['kvlistValue', 'values', 'exemplars', 'aggregationTemporality', 'isMonotonic'],
    );
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.double(),
      fc.constantFrom<unknown>(
        1e300,
        -1,
        2 ** 64,
        '18446744073709551616',
        '99999999999999999999',
        '1e9',
        {},
        [],
        [null],
      ),
      fc.string({ unit: 'binary' }),
    );
    const attributes = [
      attribute('a', {
        intValue: '1',
        doubleValue: 1,
        arrayValue: { values: [{ kvlistValue: { values: [{ key: 'b' }] } }] },
      }),
      attribute('c', { stringValue: 'd' }),
    ];
    const full = [point(1, { asInt: '1', flags: 0, exemplars: [], attributes })];
    const body = exportOf(gauge('n', ...full), sum('n', DELTA, true, ...full));
    return fc.assert(
      fc.asyncProperty(place, value, async (name, replacement) => {
        const changed = JSON.stringify(body, (key, old) => (key === name ? replacement : old));
        const { status } = await post(target, PATH, changed);
        expect([200, 422]).toContain(status);
      }),
      { numRuns: 300 },
    );
  });

  test('rejects a request with too many data points or bytes as a whole, and counts its data points', async () => {
    const before = await ledger();
    const tooMany = exportOf(gauge('n', ...Array.from({ length: 40 }, () => point(1))), {
      histogram: { dataPoints: [{}] },
    });
    const response = await post(target, PATH, tooMany);
    expectError(response, 422, 'validation_failed');
    expect(response.body.detail).toMatchObject([{ loc: ['body'], type: 'too_long' }]);
    const after = await ledger();
    expect([after.received - before.received, after.stored - before.stored]).toEqual([41, 0]);
    const large = exportOf(gauge('n', point(1, { description: 'x'.repeat(20_000) })));
    expectError(await post(target, PATH, large), 413, 'payload_too_large');
    const bomb = gzipSync(JSON.stringify(large));
    expectError(await post(target, PATH, bomb, { 'content-encoding': 'gzip' }), 413, 'payload_too_large');
  });

  test('limits rows per user together with the other routes, with Retry-After', async () => {
    const limited = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '4/h', MAX_BATCH_ITEMS: '4' });
    try {
      expect((await post(limited, '/log_raw_metric', METRIC)).status).toBe(200);
      expect((await post(limited, PATH, exportOf(gauge('n', point(1), point(2), point(3))))).status).toBe(200);
      expectLimited(await post(limited, PATH, exportOf(gauge('n', point(4)))), 'rows');
    } finally {
      await limited.stop();
    }
  });

  test('admins record for others, and other users do not', async () => {
    const acting = { 'x-act-as-user-id': 'otlp-acted' };
    const admin = await newUser({ role: 'admin' });
    const body = exportOf(gauge('n', point(1)));
    expect((await post(target, PATH, body, { authorization: admin.authorization, ...acting })).status).toBe(200);
    expect(stored('otlp-acted')).toHaveLength(1);
    expectError(await post(target, PATH, body, acting), 403, 'forbidden');
  });

  test('other methods and signals are not supported', async () => {
    const response = await send(target.url + PATH);
    expectError(response, 405, 'method_not_allowed');
    expect(response.headers.get('allow')).toBe('POST');
    expectError(await post(target, '/v1/traces', {}), 404, 'not_found');
  });
});

describe("OpenTelemetry's own exporter", () => {
  test('its deltas and gauges are stored exactly once, although a response is lost; histograms are reported', async () => {
    const { sub, authorization } = await newUser();
    const bodies: { partialSuccess?: { rejectedDataPoints: string } }[] = [];
    let isLosing = true;
    // passes requests to the server, and loses the first response
    const proxy = Bun.serve({
      port: 0,
      async fetch(request) {
        const { status, headers, body } = await send(target.url + new URL(request.url).pathname, {
          method: 'POST',
          headers: request.headers,
          body: await request.arrayBuffer(),
        });
        expect([status, headers.get('idempotent-replayed')]).toEqual([200, bodies.length === 1 ? 'true' : null]);
        bodies.push(body);
        if (!isLosing) return Response.json(body);
        isLosing = false;
        return new Response(null, { status: 503, headers: { 'retry-after': '1' } });
      },
    });
    const exporter = new OTLPMetricExporter({
      url: `http://127.0.0.1:${proxy.port}/v1/metrics`,
      headers: { authorization },
      temporalityPreference: AggregationTemporality.DELTA,
    });
    const reader = new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: 1e9,
      exportTimeoutMillis: 60_000,
    });
    const provider = new MeterProvider({ readers: [reader] });
    const meter = provider.getMeter('tests');
    const orders = meter.createCounter('orders');
    const open = meter.createUpDownCounter('open_connections');
    meter.createObservableGauge('temperature').addCallback((result) => {
      result.observe(21.5, { room: 'a' });
      result.observe(18.25, { room: 'b', floor: 2 });
    });
    const latency = meter.createHistogram('latency');

    orders.add(2, { plan: 'pro' });
    orders.add(1, { plan: 'pro' });
    orders.add(5, { plan: 'free' });
    open.add(3);
    latency.record(12);
    await reader.forceFlush();
    orders.add(4, { plan: 'pro' });
    open.add(-1);
    await reader.forceFlush();
    await provider.shutdown();
    await proxy.stop(true);

    const values = stored(sub).map(([name, value, label]) => `${name} ${value} ${label}`);
    const temperatures = ['temperature 21.5 room=a', 'temperature 18.25 floor=2,room=b'];
    // after the second flush, and after the third by the shutdown, which has no new counts
    expect(values.filter((text) => text.startsWith('orders'))).toEqual([
      'orders 3 plan=pro',
      'orders 5 plan=free',
      'orders 4 plan=pro',
    ]);
    expect(values.filter((text) => text.startsWith('open'))).toEqual([
      'open_connections 3 ',
      'open_connections 2 ',
      'open_connections 2 ',
    ]);
    expect(values.filter((text) => text.startsWith('temperature'))).toEqual([
      ...temperatures,
      ...temperatures,
      ...temperatures,
    ]);
    expect(values.filter((text) => text.startsWith('latency'))).toEqual([]);
    expect(bodies.map(({ partialSuccess }) => partialSuccess?.rejectedDataPoints)).toEqual([
      ...['1', '1'],
      undefined,
      undefined,
    ] as string[]);
    const authorizationHeader = { authorization };
    const { body } = await send(`${target.url}/api/metrics/series?name=orders&group_by=data_string`, {
      headers: authorizationHeader,
    });
    expect(body.sum).toBe(12);
  });
});
