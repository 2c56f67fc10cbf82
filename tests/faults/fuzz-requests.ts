import { gzipSync } from 'node:zlib';

/*
 * Random requests to the routes of an OpenAPI document: some valid, most with something wrong.
 */

/** A deterministic source of random choices: the same seed gives the same choices. */
export interface Random {
  /** Returns a number from 0 (inclusive) to 1 (exclusive). */
  next(): number;
  /** Returns an integer from 0 (inclusive) to `end` (exclusive). */
  below(end: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  bytes(length: number): Buffer;
}

/** Creates the random source of a seed, with the generator "mulberry32". */
export function createRandom(seed: number): Random {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number) => Math.floor(next() * end);
  return {
    next,
    below,
    chance: (probability) => next() < probability,
    pick<T>(list: readonly T[]): T {
      return list[below(list.length)] as T; // lists are never empty
    },
    bytes: (length) => Buffer.from(Array.from({ length }, () => below(256))),
  };
}

/** Maximum size of a request head that the server's HTTP parser accepts, in bytes. */
const MAX_HEAD_BYTES = 16_000;

/** A route of the OpenAPI document. */
export interface Route {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  /** Whether it accepts a body. */
  readonly hasBody: boolean;
}

interface Parameter {
  readonly in: string;
  readonly name: string;
  readonly required?: boolean;
  readonly schema: { readonly type?: string; readonly format?: string; readonly enum?: readonly string[] };
}

interface Document {
  readonly paths: Record<string, Record<string, { parameters?: readonly Parameter[]; requestBody?: unknown }>>;
}

/** Lists the routes of the document, and some that it does not contain. */
export function routesOf(document: Document): Route[] {
  const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody }]) => {
      return { method: method.toUpperCase(), path, parameters, hasBody: requestBody !== undefined };
    }),
  );
  const recording = documented.filter(({ path }) => path.startsWith('/log_raw_'));
  const aliases = recording.flatMap((route) =>
    ['/analytics', '/api/analytics'].map((prefix) => ({ ...route, path: prefix + route.path })),
  );
  const pages = ['/', '/swagger', '/swagger/json', '/favicon.ico', '/metric', '/nothing/here', '/api', '/api/nothing'];
  const others = pages.map((path) => ({ method: 'GET', path, parameters: [], hasBody: false }));
  // recording routes are more frequent, because all others work on recorded data
  return [...documented, ...recording, ...recording, ...aliases, ...others];
}

/** Tokens to send. They belong to few users, so that requests affect the same data. */
export interface Tokens {
  readonly good: readonly string[];
  readonly admin: string;
  readonly bad: readonly string[];
}

/** A request, with what is allowed as its response. */
export interface FuzzRequest {
  readonly bytes: Buffer;
  readonly method: string;
  /** Whether it is invalid HTTP, to which the server's HTTP parser may respond in its own format, or close the connection. */
  readonly isBrokenHttp: boolean;
  /** Whether the request is shorter than it declares. */
  readonly endsEarly: boolean;
  /** Whether the response is an endless stream. */
  readonly isStream: boolean;
}

const TEXTS = [
  '',
  'a',
  'page_load_time',
  'tutorial_step',
  'step_3',
  '/dashboard',
  '..',
  '.',
  '../../etc/passwd',
  'CORP\\bob',
  'a/b',
  'a?b',
  'a#b',
  '%',
  '%zz',
  '%00',
  '%2e%2e',
  'a+b c',
  '\u0000',
  '\n',
  'ä🎉',
  '\u2028',
  '\ufeff',
  "' OR 1=1 --",
  '"; DROP TABLE metrics; --',
  '<script>alert(1)</script>',
  '__proto__',
  'constructor',
  'null',
  'true',
  '-0',
  '1e999',
  'NaN',
  '9007199254740993',
  'x'.repeat(300),
  'y'.repeat(9_000),
];
const TIMES = [
  '2026-01-01T00:00:00Z',
  '2026-03-29T01:30:00.123456+02:00',
  '1700-01-01T00:00:00Z',
  '1699-12-31T23:59:59Z',
  '0000-01-01T00:00:00Z',
  '9999-12-31T23:59:59Z',
  '2026-02-30T00:00:00Z',
  '2026-01-01',
  'now',
];
const INTERVALS = ['minute', 'hour', 'day', 'week', 'month', 'year', '15m', '2w', '7m', '0d', '9999year', '1M'];
const ZONES = ['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'Africa/Monrovia', 'Nowhere/Else', '+01:00', 'utc'];
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND'];
const HOSTS = [
  'localhost',
  'a b',
  'x:abc',
  '::1',
  '[::1]:80',
  '',
  ' ',
  'a'.repeat(300),
  'ä',
  '127.0.0.1:0',
  'a/b',
  '@',
  '%',
];
const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -0,
  1.5,
  -1.7976931348623157e308,
  5e-324,
  2 ** 53,
  '2.5',
  ' 1e3 ',
  '',
  'text',
  '\ud800',
  'z'.repeat(9_000),
  [],
  [[]],
  {},
  { a: { b: [1, 2, { c: null }] } },
];

/** Percent-encodes a text, or leaves it mostly unencoded. */
function encodeMaybe(random: Random, text: string): string {
  if (random.chance(0.7)) return encodeURIComponent(text.toWellFormed());
  // removes only what would end the request line
  return text.replace(/[\r\n \0]/g, '');
}

function parameterValue(random: Random, { name, schema }: Parameter): string {
  if (random.chance(0.25)) return random.pick(TEXTS);
  if (schema.enum) return random.pick(schema.enum);
  if (schema.format === 'date-time') return random.pick(TIMES);
  if (schema.type === 'integer') return random.pick(['1', '10', '1000', '0', '-1', '1001', '1.5', '01', '']);
  if (name === 'interval') return random.pick(INTERVALS);
  if (name === 'tz') return random.pick(ZONES);
  if (name === 'within') return random.pick(['7d', '90s', '0s', '1y', '']);
  if (name === 'user_id') return `user-${random.below(6)}`;
  if (name === 'name') return 'page_load_time';
  if (name === 'type') return 'tutorial_step';
  return random.pick(['step_1', 'step_2', 'step_3', '/dashboard']);
}

function targetOf(random: Random, { path, parameters }: Route): string {
  const filled = path.replace(/\{\w+\}/g, () =>
    encodeMaybe(random, random.chance(0.3) ? `user-${random.below(6)}` : random.pick(TEXTS)),
  );
  const variant = random.chance(0.06)
    ? random.pick([
        `/${filled}`,
        `${filled}/`,
        `/.${filled}`,
        `/x/..${filled}`,
        `${filled}%20`,
        filled.toUpperCase(),
        `${filled}\\`,
      ])
    : filled;
  const query = parameters
    .filter((parameter) => parameter.in === 'query' && random.chance(parameter.required ? 0.9 : 0.35))
    .flatMap((parameter) => {
      const times = parameter.schema.type === 'array' ? 1 + random.below(4) : random.chance(0.04) ? 2 : 1;
      return Array.from(
        { length: times },
        () => `${parameter.name}=${encodeMaybe(random, parameterValue(random, parameter))}`,
      );
    });
  if (random.chance(0.06))
    query.push(random.pick(['unknown=1', '=', '&&', 'a', '%zz=%zz', 'from', `${'q'.repeat(5_000)}=1`, '?', 'name=']));
  return variant + (query.length > 0 ? `?${query.join('&')}` : random.chance(0.03) ? '?' : '');
}

/** Returns the body of a metric, an event, a batch or an export of OpenTelemetry, in which some fields are missing or wrong. */
function bodyValue(random: Random, path: string): unknown {
  const field = (value: unknown) => (random.chance(0.06) ? random.pick(VALUES) : value);
  const dropSome = (body: Record<string, unknown>) => {
    for (const name of Object.keys(body)) if (random.chance(0.03)) delete body[name];
    if (random.chance(0.15)) body['timestamp'] = random.chance(0.5) ? new Date().toISOString() : random.pick(TIMES);
    if (random.chance(0.05)) body[random.pick(TEXTS)] = random.pick(VALUES);
    return body;
  };
  const metric = () =>
    dropSome({
      metric_name: field(random.chance(0.9) ? 'page_load_time' : random.pick(TEXTS)),
      metric_value: field(random.next() * 100),
      data_string: field(random.chance(0.8) ? '/dashboard' : random.pick(TEXTS)),
    });
  const event = () =>
    dropSome({
      type: field(random.chance(0.9) ? 'tutorial_step' : random.pick(TEXTS)),
      data: field({ step: random.below(5), value: random.pick(VALUES) }),
      data_index: field(`step_${random.below(5)}`),
    });
  const list = (make: () => unknown) =>
    Array.from({ length: random.below(random.chance(0.02) ? 1_100 : 4) }, () => field(make()));
  const dataPoint = () =>
    dropSome({
      timeUnixNano: field(`${Date.now()}000000`),
      asDouble: field(random.next() * 100),
      attributes: field([{ key: field('page'), value: field({ stringValue: field('/dashboard') }) }]),
    });
  const otlpMetric = () => ({
    name: field('page_load_time'),
    [random.pick(['gauge', 'sum', 'histogram'])]: field({
      aggregationTemporality: field(1 + random.below(2)),
      isMonotonic: field(random.chance(0.5)),
      dataPoints: field(list(dataPoint)),
    }),
  });
  if (path === '/v1/metrics') {
    return dropSome({ resourceMetrics: field([{ scopeMetrics: field([{ metrics: field([otlpMetric()]) }]) }]) });
  }
  if (path.includes('metric')) return metric();
  if (path.includes('batch')) {
    return dropSome({ metrics: field(list(metric)), analytics: field(list(event)) });
  }
  return event();
}

/** Returns the bytes of a body before content encoding. */
function plainBody(random: Random, path: string): Buffer {
  const kind = random.next();
  const text = JSON.stringify(bodyValue(random, path)) ?? '';
  if (kind < 0.75) return Buffer.from(text);
  if (kind < 0.8) return Buffer.from(text.slice(0, random.below(text.length + 1)));
  if (kind < 0.85) return random.bytes(random.below(200));
  if (kind < 0.88) return Buffer.from(`${'['.repeat(2_000)}${']'.repeat(2_000)}`);
  if (kind < 0.91) return Buffer.from(text.replace(/\d+/, '1e999999999999'));
  if (kind < 0.94) return Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0xfe])]);
  if (kind < 0.96) return Buffer.alloc(70_000, 0x20);
  return Buffer.from(random.pick(['', 'null', '1', '"a"', '[]', '{}', '\ufeff{}', '{"a":1}{"b":2}', '{"a":1,}']));
}

/** Creates request number `n` of a seed. */
export function fuzzRequest(n: number, seed: number, routes: readonly Route[], tokens: Tokens): FuzzRequest {
  const random = createRandom(seed * 1_000_003 + n);
  if (random.chance(0.02)) return createGarbage(random);
  const route = random.pick(routes);
  const method = random.chance(0.92) ? route.method : random.pick(METHODS);
  const target = targetOf(random, route);
  const isStream = route.path.endsWith('/tail');
  const isOldHttp = random.chance(0.02);
  const headers: string[] = [];
  if (!isOldHttp || random.chance(0.5)) headers.push(`Host: ${random.chance(0.85) ? '127.0.0.1' : random.pick(HOSTS)}`);

  // erasures and deletions affect all other requests, so fewer of them carry an admin token
  const isRemoval = method === 'DELETE';
  const tokenKind = random.next();
  if (tokenKind < (isRemoval ? 0.1 : 0.25)) headers.push(`Authorization: Bearer ${tokens.admin}`);
  else if (tokenKind < 0.85) headers.push(`Authorization: Bearer ${random.pick(tokens.good)}`);
  else if (tokenKind < 0.95) headers.push(`Authorization: ${random.pick(tokens.bad)}`);
  if (random.chance(0.05))
    headers.push(`X-Act-As-User-Id: ${random.pick(['', ' ', 'user-1', 'ä', 'x'.repeat(300), '..', 'a\tb'])}`);
  if (random.chance(0.08))
    headers.push(`Idempotency-Key: ${random.pick(['k1', 'k2', `k${random.below(1e6)}`, '', 'ä', 'x'.repeat(256)])}`);
  if (random.chance(0.05)) {
    headers.push(
      random.pick([
        'Accept-Encoding: gzip, br',
        'Accept-Encoding: *;q=0',
        'Accept: text/plain',
        'Origin: null',
        'Range: bytes=0-1',
        'If-None-Match: *',
        'Expect: 100-continue',
        'X-Request-Id: mine',
        'X-Forwarded-For: 1.2.3.4',
        'Upgrade: websocket',
        'Cookie: a=b',
        'Connection: close',
        'Authorization: Bearer x',
        'Content-Type: text/html',
        'Idempotency-Key: twice',
        'Host: other',
        `X-Long: ${'l'.repeat(6_000)}`,
      ]),
    );
  }

  let body: Buffer = Buffer.alloc(0);
  let isBrokenHttp = false;
  let endsEarly = isOldHttp && !headers.some((header) => header.startsWith('Host'));
  if (route.hasBody ? random.chance(0.97) : random.chance(0.05)) {
    body = plainBody(random, route.path);
    if (random.chance(0.95))
      headers.push(
        `Content-Type: ${random.chance(0.9) ? 'application/json' : random.pick(['text/plain', 'Application/JSON; charset=utf-8', 'application/json;', 'multipart/form-data; boundary=x', ''])}`,
      );
    if (random.chance(0.12)) {
      const zipped = gzipSync(random.chance(0.1) ? Buffer.alloc(3_000_000, 0x20) : body);
      body = random.chance(0.7) ? zipped : random.chance(0.5) ? zipped.subarray(0, zipped.length - 5) : body;
      headers.push('Content-Encoding: gzip');
    } else if (random.chance(0.02))
      headers.push(`Content-Encoding: ${random.pick(['br', 'identity', 'gzip, gzip', 'x'])}`);
    const framing = random.next();
    if (framing < 0.85) headers.push(`Content-Length: ${body.length}`);
    else if (framing < 0.95) {
      headers.push('Transfer-Encoding: chunked');
      body = chunked(random, body);
      if (random.chance(0.3)) {
        body = Buffer.concat([
          body.subarray(0, random.below(body.length)),
          Buffer.from(random.pick(['zz\r\n', '\r\n', '-1\r\n', ''])),
        ]);
        isBrokenHttp = true;
        endsEarly = true;
      }
    } else if (framing < 0.98) {
      headers.push(`Content-Length: ${body.length + 1 + random.below(100)}`);
      isBrokenHttp = true;
      endsEarly = true;
    } else {
      headers.push(
        random.pick([
          'Content-Length: -1',
          'Content-Length: abc',
          `Content-Length: ${body.length}\r\nTransfer-Encoding: chunked`,
        ]),
      );
      isBrokenHttp = true;
      endsEarly = true;
    }
  }
  const version = isOldHttp ? 'HTTP/1.0' : 'HTTP/1.1';
  // the HTTP parser rejects longer heads, and chunked bodies in HTTP/1.0, before the program sees them
  isBrokenHttp ||= isOldHttp && headers.includes('Transfer-Encoding: chunked');
  const origin = random.chance(0.02) ? random.pick(['http://a b', 'http://x:abc', 'http://[::1', 'https://h']) : '';
  if (origin.includes(' ')) isBrokenHttp = true;
  const head = `${method} ${origin}${target} ${version}\r\n${headers.map((header) => `${header}\r\n`).join('')}\r\n`;
  // clients send targets and headers in UTF-8
  const bytes = Buffer.concat([Buffer.from(head), body]);
  isBrokenHttp ||= bytes.length - body.length > MAX_HEAD_BYTES;
  return { bytes, method, isBrokenHttp, endsEarly, isStream };
}

function chunked(random: Random, body: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const part = body.subarray(at, at + 1 + random.below(Math.max(1, body.length)));
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'));
    at += part.length;
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]);
}

/** Creates bytes that are hardly a request. */
function createGarbage(random: Random): FuzzRequest {
  const lines = [
    'GARBAGE\r\n\r\n',
    'FOO / HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /healthz HTTP/1.1\r\n\r\n',
    'GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n',
    'GET /healthz\r\n\r\n',
    'GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /healthz HTTP/1.1\nHost: a\n\n',
    'GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n',
    'GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    'GET * HTTP/1.1\r\nHost: a\r\n\r\n',
    'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
    'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n',
    `GET /${'p'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'h'.repeat(40_000)}\r\n\r\n`,
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '\r\n\r\n\r\n',
    '\u0016\u0003\u0001\u0002\u0000\u0001\u0000',
  ];
  const start = random.chance(0.7) ? Buffer.from(random.pick(lines), 'latin1') : random.bytes(1 + random.below(300));
  const bytes = random.chance(0.2) ? Buffer.concat([start, random.bytes(random.below(100))]) : start;
  return { bytes, method: 'GET', isBrokenHttp: true, endsEarly: true, isStream: false };
}
