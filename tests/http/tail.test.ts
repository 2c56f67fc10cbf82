import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { connect } from 'node:net';
import { createParser } from 'eventsource-parser';
import { ANALYTICS, expectError, METRIC, post, rows, send } from '../harness/client.ts';
import { type EventStream, openEvents } from '../harness/events.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

const METRICS = '/api/records/metrics/tail';
const EVENTS = '/api/records/analytics/tail';

type Headers = { authorization: string };

let target: Target;
let anna: Headers;
let berta: Headers;
let admin: Headers;
beforeAll(async () => {
  target = await startTarget();
  [anna, berta, admin] = await Promise.all([
    bearer({ sub: 'anna' }),
    bearer({ sub: 'berta' }),
    bearer({ sub: 'root', role: 'admin' }),
  ]);
});
afterAll(() => target.stop());

const bearer = async (claims: object): Promise<Headers> => ({ authorization: `Bearer ${await token({ ...claims })}` });

/** Opens a live tail; resolves once it is subscribed. */
async function openTail(address = METRICS, headers = anna, of = target): Promise<EventStream> {
  const tail = await openEvents(of.url + address, headers);
  expect(tail.response.status).toBe(200);
  expect(await tail.next()).toMatchObject({ event: 'open', data: '{}' });
  return tail;
}

/** Returns the next event, which must be a record. */
async function nextRecord(tail: EventStream) {
  const event = await tail.next();
  expect(event?.event).toBe('record');
  return JSON.parse(event?.data ?? '');
}

async function openTails(of = target): Promise<number> {
  const { text } = await send(`${of.url}/metrics`, { headers: await bearer({ role: 'admin' }) });
  return Number(/^rawlog_tails (\d+)$/m.exec(text)?.[1]);
}

/** Resolves once exactly this many tails are open. */
async function untilOpen(count: number, of = target): Promise<void> {
  while ((await openTails(of)) !== count) {
    // poll
  }
}

describe('a record', () => {
  test('is sent with its ID and the same text as on a page of records', async () => {
    const texts = [
      '{"metric_name":"m","metric_value":-0.0,"data_string":"two\\nlines\\r\\n\\u2028ü🦀"}',
      '{"metric_name":"m","metric_value":1e300,"data_string":"x","timestamp":"2020-01-01T00:00:00.123456+05:45"}',
    ];
    const data = '{"type":"t","data":{"big":12345678901234567890,"small":1.10},"data_index":""}';
    const [metrics, events] = [await openTail(), await openTail(EVENTS)];
    for (const [tail, path, bodies] of [
      [metrics, 'metrics', texts],
      [events, 'analytics', [data]],
    ] as const) {
      for (const body of bodies) {
        const { body: id } = await post(
          target,
          path === 'metrics' ? '/log_raw_metric' : '/log_raw_analytics',
          body,
          anna,
        );
        const page = await send(`${target.url}/api/records/${path}?limit=1`, { headers: anna });
        const event = await tail.next();
        expect(event).toMatchObject({ id, event: 'record' });
        expect(page.text).toBe(`{"records":[${event?.data}],"next_cursor":${JSON.stringify(page.body.next_cursor)}}`);
      }
      tail.close();
    }
  });

  test('is sent only to its user and to admins, and only if it matches the filters', async () => {
    const tails = {
      'anna all': await openTail(),
      'anna by name': await openTail(`${METRICS}?name=wanted&user_id=anna`),
      'berta by label': await openTail(`${METRICS}?data_string=wanted`, berta),
      'admin all': await openTail(METRICS, admin),
      'admin on berta': await openTail(`${METRICS}?user_id=berta`, admin),
      'anna events': await openTail(EVENTS),
      'anna events by type': await openTail(`${EVENTS}?type=wanted`),
      'berta events by index': await openTail(`${EVENTS}?data_index=wanted`, berta),
    };
    const names = ['other', 'wanted', 'last'];
    for (const [user, headers] of Object.entries({ anna, berta })) {
      for (const name of names) {
        for (const label of names) {
          const metrics = [{ ...METRIC, metric_name: name, data_string: `${user} ${label}` }];
          const analytics = [{ ...ANALYTICS, type: name, data_index: `${user} ${label}` }];
          if (user === 'berta') {
            metrics.push({ ...METRIC, metric_name: name, data_string: label });
            analytics.push({ ...ANALYTICS, type: name, data_index: label });
          }
          expect((await post(target, '/log_batch', { metrics, analytics }, headers)).status).toBe(200);
        }
      }
    }
    const expected: Record<keyof typeof tails, [user: string, count: number, field: string, values: string[]]> = {
      'anna all': ['anna', 9, 'metric_name', names],
      'anna by name': ['anna', 3, 'metric_name', ['wanted']],
      'berta by label': ['berta', 3, 'data_string', ['wanted']],
      'admin all': ['anna berta', 27, 'metric_name', names],
      'admin on berta': ['berta', 18, 'metric_name', names],
      'anna events': ['anna', 9, 'type', names],
      'anna events by type': ['anna', 3, 'type', ['wanted']],
      'berta events by index': ['berta', 3, 'data_index', ['wanted']],
    };
    // a record that matches every filter is sent last, so everything before it must be expected
    for (const headers of [anna, berta]) {
      const body = {
        metrics: [{ ...METRIC, metric_name: 'wanted', data_string: 'wanted', metric_value: 99 }],
        analytics: [{ type: 'wanted', data_index: 'wanted', data: { end: true } }],
      };
      expect((await post(target, '/log_batch', body, headers)).status).toBe(200);
    }
    for (const [name, tail] of Object.entries(tails)) {
      const [users, count, field, values] = expected[name as keyof typeof tails];
      const records = [];
      for (;;) {
        const record = await nextRecord(tail);
        if (record.metric_value === 99 || record.data?.end) break;
        records.push(record);
      }
      expect({ name, count: records.length }).toEqual({ name, count });
      expect([...new Set(records.map((record) => record.user_id))].sort().join(' ')).toBe(users);
      expect([...new Set(records.map((record) => record[field]))].sort()).toEqual([...values].sort());
      tail.close();
    }
  });

  test('is not sent when it is rejected, nor before its commit', async () => {
    const tail = await openTail();
    const other = new Database(target.databasePath);
    other.run('BEGIN IMMEDIATE');
    // waiting for the lock times out, so it is rejected
    expectError(await post(target, '/log_raw_metric', METRIC, anna), 503, 'storage_unavailable');
    other.run('COMMIT');
    other.close();
    await post(target, '/log_raw_metric', { ...METRIC, metric_value: 'x' }, anna);
    const { body: id } = await post(target, '/log_raw_metric', METRIC, anna);
    expect((await nextRecord(tail)).id).toBe(id);
    tail.close();
  });

  test('is sent once when its request is repeated', async () => {
    const tail = await openTail();
    for (let i = 0; i < 3; i++) await post(target, '/log_raw_metric', METRIC, { ...anna, 'idempotency-key': 'once' });
    const { body: id } = await post(target, '/log_raw_metric', METRIC, anna);
    expect((await nextRecord(tail)).id).not.toBe(id);
    expect((await nextRecord(tail)).id).toBe(id);
    tail.close();
  });

  test('is not missed by a client that reads a page of records after opening the tail', async () => {
    let isRecording = true;
    const recording = (async () => {
      while (isRecording) await post(target, '/log_raw_metric', METRIC, berta);
    })();
    const tail = await openTail(METRICS, berta);
    const { body } = await send(`${target.url}/api/records/metrics?limit=1000`, { headers: berta });
    const first = await nextRecord(tail);
    isRecording = false;
    await recording;
    tail.close();
    const ids = rows(target, 'metrics')
      .filter((row) => row['user_id'] === 'berta')
      .map(({ id }) => id);
    const newest = ids.indexOf(body.records[0].id);
    expect(newest).toBeGreaterThanOrEqual(ids.indexOf(first.id) - 1);
  });
});

describe('a live tail', () => {
  test('has the header fields of an uncached stream and is counted when it opens', async () => {
    const before = await openTails();
    const count = async () =>
      (await send(`${target.url}/metrics`, { headers: await bearer({ role: 'admin' }) })).text.match(
        /http_request_duration_seconds_count\{method="GET",route="\/api\/records\/analytics\/tail",status="200"\} (\d+)/,
      )?.[1];
    const countBefore = Number((await count()) ?? 0);
    const tail = await openTail(EVENTS);
    const { headers } = tail.response;
    expect(headers.get('content-type')).toBe('text/event-stream');
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-accel-buffering')).toBe('no');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-request-id')).toBeString();
    expect(await openTails()).toBe(before + 1);
    expect(Number(await count())).toBe(countBefore + 1);
    tail.close();
    await untilOpen(before);
    expect(Number(await count())).toBe(countBefore + 1);
  });

  test('is not opened by HEAD', async () => {
    const before = await openTails();
    const response = await fetch(target.url + METRICS, { method: 'HEAD', headers: anna });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(await openTails()).toBe(before);
  });

  test('is rejected without a token, for another user, and with an invalid filter', async () => {
    const get = (query: string, headers: Record<string, string>) => send(target.url + METRICS + query, { headers });
    expectError(await get('', {}), 401, 'unauthorized');
    expectError(await get('?user_id=berta', anna), 403, 'forbidden');
    expectError(await get('?user_id=', admin), 422, 'validation_failed');
    expectError(await send(target.url + METRICS, { method: 'POST', headers: anna }), 405, 'method_not_allowed');
  });

  test('is closed when its client disconnects, even immediately', async () => {
    await untilOpen(0);
    const tails = await Promise.all(Array.from({ length: 20 }, () => openTail()));
    expect(await openTails()).toBe(20);
    for (const tail of tails) tail.close();
    await untilOpen(0);
    const { hostname, port } = new URL(target.url);
    for (let i = 0; i < 200; i++) {
      // half of them with a token that has to be verified first
      const { authorization } = i % 4 < 2 ? anna : await bearer({ jti: String(i) });
      const head = `GET ${METRICS} HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\n\r\n`;
      await new Promise<void>((resolve) => {
        const socket = connect(Number(port), hostname, () => {
          socket.write(head, () => {
            if (i % 2 === 0) socket.destroy();
            else socket.resetAndDestroy();
          });
        });
        socket.on('error', () => {});
        socket.on('close', () => resolve());
      });
    }
    await untilOpen(0);
    // and the whole limit is available again
    const admins = await Promise.all(Array.from({ length: 5 }, (_, i) => bearer({ sub: `root-${i}`, role: 'admin' })));
    const again = await Promise.all(Array.from({ length: 100 }, (_, i) => openTail(METRICS, admins[i % 5])));
    expectError(await send(target.url + METRICS, { headers: berta }), 503, 'queries_overloaded');
    again[0]?.close();
    await untilOpen(99);
    again[0] = await openTail(METRICS, admins[0]);
    // each tail receives the record
    const { body: id } = await post(target, '/log_raw_metric', METRIC, anna);
    for (const tail of again) {
      expect((await nextRecord(tail)).id).toBe(id);
      tail.close();
    }
    await untilOpen(0);
  });

  test('is limited to twenty per user', async () => {
    const tails = await Promise.all(Array.from({ length: 20 }, () => openTail()));
    const rejected = await send(target.url + EVENTS, { headers: anna });
    expectError(rejected, 503, 'queries_overloaded');
    expect(rejected.body.message).toContain('20 open live tails');
    tails.push(await openTail(METRICS, berta));
    for (const tail of tails) tail.close();
    await untilOpen(0);
  });

  test('is rejected when only the twenty reserved for admins and viewers are left', async () => {
    const users = await Promise.all(Array.from({ length: 4 }, (_, i) => bearer({ sub: `user-${i}` })));
    const tails = await Promise.all(Array.from({ length: 80 }, (_, i) => openTail(METRICS, users[i % 4])));
    expectError(await send(target.url + METRICS, { headers: anna }), 503, 'queries_overloaded');
    tails.push(await openTail(METRICS, admin));
    for (const tail of tails) tail.close();
    await untilOpen(0);
  });

  test('sends a heartbeat before the connection counts as idle', async () => {
    const tail = await openTail();
    expect(await tail.comment()).toBe('heartbeat');
    tail.close();
  });

  test('ends with "expired" when its token expires, and not before', async () => {
    const exp = secondsFromNow(3);
    const short = await bearer({ sub: 'anna', exp });
    const tail = await openTail(METRICS, short);
    const { body: id } = await post(target, '/log_raw_metric', METRIC, anna);
    expect((await nextRecord(tail)).id).toBe(id);
    expect(await tail.next()).toMatchObject({ event: 'expired', data: '{}' });
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1000);
    expect(await tail.next()).toBeUndefined();
    expectError(await send(target.url + METRICS, { headers: short }), 401, 'unauthorized');
  });

  test('works with a token that is valid for centuries', async () => {
    const tail = await openTail(METRICS, await bearer({ sub: 'anna', exp: 253_402_300_799 }));
    const { body: id } = await post(target, '/log_raw_metric', METRIC, anna);
    expect((await nextRecord(tail)).id).toBe(id);
    tail.close();
  });
});

describe('dropped records', () => {
  test('appear as a count in a skipped event', async () => {
    const tail = await openTail(METRICS, berta);
    const batch = { metrics: Array(1000).fill(METRIC) };
    const { body } = await post(target, '/log_batch', batch, berta);
    for (const id of body.metrics.slice(0, 100)) expect((await nextRecord(tail)).id).toBe(id);
    expect(await tail.next()).toMatchObject({ event: 'skipped', data: '{"records":900}', id: undefined });
    const { body: id } = await post(target, '/log_raw_metric', METRIC, berta);
    expect((await nextRecord(tail)).id).toBe(id);
    tail.close();
  });

  test('appear as a count for a client that does not read, and do not grow its buffer', async () => {
    const { hostname, port } = new URL(target.url);
    const socket = connect(Number(port), hostname);
    let [records, skipped] = [0, 0];
    const parser = createParser({
      onEvent({ event, data }) {
        if (event === 'record') records++;
        if (event === 'skipped') skipped += JSON.parse(data).records;
      },
    });
    const read = decodeChunks((bytes) => parser.feed(bytes.toString('latin1')));
    await new Promise<void>((resolve) => {
      socket.once('data', (data: Buffer) => {
        read(data);
        socket.pause();
        resolve();
      });
      socket.write(`GET ${EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: ${anna.authorization}\r\n\r\n`);
    });
    // far more than socket buffers hold, but slower than the limit of records per second
    const data = { filler: 'x'.repeat(900_000) };
    for (let i = 0; i < 40; i++) {
      expect((await post(target, '/log_raw_analytics', { ...ANALYTICS, data }, anna)).status).toBe(200);
    }
    socket.on('data', read);
    socket.resume();
    while (records + skipped < 40) await new Promise((resolve) => socket.once('data', resolve));
    expect(records).toBeGreaterThan(0);
    expect(skipped).toBeGreaterThan(5);
    expect(records + skipped).toBe(40);
    socket.destroy();
  });
});

/** Decodes a chunked response (RFC 9112, section 7.1) as it arrives; passes on each chunk once it is complete. */
function decodeChunks(onChunk: (bytes: Buffer) => void): (received: Buffer) => void {
  let pending = Buffer.alloc(0);
  let inBody = false;
  return (received) => {
    pending = Buffer.concat([pending, received]);
    const headEnd = pending.indexOf('\r\n\r\n');
    if (!inBody && headEnd < 0) return;
    if (!inBody) pending = pending.subarray(headEnd + 4);
    inBody = true;
    for (;;) {
      const start = pending.indexOf('\r\n') + 2;
      const end = start + Number.parseInt(pending.toString('latin1', 0, start), 16);
      if (start < 2 || pending.length < end + 2) return;
      onChunk(pending.subarray(start, end));
      pending = pending.subarray(end + 2);
    }
  };
}

test('SIGTERM ends an open tail and stops the server with status 0', async () => {
  const other = await startTarget();
  const tail = await openTail(METRICS, anna, other);
  const { body: id } = await post(other, '/log_raw_metric', METRIC, anna);
  other.process.kill('SIGTERM');
  expect((await nextRecord(tail)).id).toBe(id);
  expect(await tail.next()).toBeUndefined();
  const began = performance.now();
  expect(await other.stop()).toBe(0);
  // the server waits up to seven seconds for draining connections, but not for open tails
  expect(performance.now() - began).toBeLessThan(5_000);
});
