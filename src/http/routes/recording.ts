import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import type { Principal } from '../../auth/verifier.ts';
import type { Config } from '../../config.ts';
import { ApiError, type ValidationIssue } from '../../errors.ts';
import { parseExact } from '../../formats/json.ts';
import { laxNumber } from '../../formats/lax-number.ts';
import type { CommitQueue } from '../../ingest/commit-queue.ts';
import type { Idempotency } from '../../ingest/idempotency.ts';
import type { Ledger } from '../../ingest/ledger.ts';
import { type RateLimit, takeAll } from '../../ingest/rate-limit.ts';
import type { Reservation, Reservations } from '../../ingest/reservations.ts';
import type { Stamper } from '../../ingest/stamper.ts';
import type { NameUse, UserNames } from '../../ingest/user-names.ts';
import { analyticsCheck, type Batch, batchCheck, type LogRecord, metricCheck } from '../../records.ts';
import type { CachedResponse, UserName } from '../../storage/writer.ts';
import type { ActAsLog } from '../act-as-log.ts';
import { aliasesOf } from '../aliases.ts';
import { authenticate, ONLY_ADMINS_ACT, recordedUser } from '../auth.ts';
import { expectedBytes, readJson } from '../body.ts';
import type { ErrorResponder } from '../error-response.ts';
import type { Metrics } from '../metrics.ts';
import { recordingRoute } from '../openapi.ts';
import { commonHeaders } from '../request-start.ts';
import { batchSizeIssues, MAX_ISSUES, validate, validateLax } from '../validation.ts';

/** Thrown for a body that is not read. Made once: a stack trace costs more than the rest of such a response. */
const OVERLOADED = new ApiError('overloaded');

/** What the recording routes work with. */
export interface RecordingParts {
  readonly verify: CachedVerifier;
  readonly queue: CommitQueue;
  readonly reservations: Reservations;
  readonly idempotency: Idempotency;
  readonly stamper: Stamper;
  readonly userNames: UserNames;
  readonly ledger: Ledger;
  /** Limits rows per user, and those that an admin records for another user per admin and user. */
  readonly rows: RateLimit;
  /** Limits bytes of bodies per caller who is no admin. */
  readonly bytes: RateLimit;
  /** Logs admins who record for others. */
  readonly actAs: ActAsLog;
  /** Whether the server still takes new records. */
  readonly isOpen: () => boolean;
  readonly metrics: Pick<Metrics, 'requests'>;
  /** Turns an error into a response, and counts its items as rejected. */
  readonly respond: ErrorResponder;
  readonly nextRequestId: () => string;
  readonly limits: Pick<Config, 'maxBodyBytes' | 'maxBatchItems'>;
}

/** What differs between the recording routes. */
interface RecordingRoute<Body> {
  readonly path: string;
  /** How many items a parsed body has, before it is checked. */
  readonly itemsOf: (value: unknown) => number;
  /** Checks a parsed body; throws `validation_failed`. */
  readonly check: (value: unknown) => Body;
  /** Returns what a checked body records for each user; `userId` is the user of items that name none. */
  readonly sharesOf: (userId: string, body: Body) => Share[];
  /** Makes the records of a checked body, whose text is given too, and of their ids the text of the answer. */
  readonly make: (userId: string, body: Body, text: string) => { records: LogRecord[]; answer: string };
}

/** What a request records for one user: a name per row. */
interface Share {
  readonly userId: string;
  readonly names: NameUse[];
}

/**
 * The recording routes. A request is authenticated by its headers alone; then its body is read,
 * parsed and checked; its records go to the commit queue; their ids are the answer.
 *
 * All of that is in one handler, in that order, and Elysia is told to leave the body alone: its hooks
 * that come before a body is read know no route, and those of a route come after the check of the
 * body, when an anonymous caller would already have been told what is wrong with it.
 *
 * The handler also does what hooks do for other routes: it names and times its request, catches its errors, and
 * returns a `Response` that has its header fields. In trial servers of 17 µs a request, Elysia's merging of
 * header fields took 4.6 µs more, and prom-client's histogram 2.5 of 53 in a profile of this one.
 */
export function recording(parts: RecordingParts) {
  const { verify, queue, reservations, idempotency, stamper, userNames, ledger, metrics, respond, nextRequestId } =
    parts;
  const { rows, bytes, actAs, isOpen } = parts;
  const { maxBodyBytes, maxBatchItems } = parts.limits;

  function handlerOf<Body>({ path, itemsOf, check, sharesOf, make }: RecordingRoute<Body>) {
    const observe = metrics.requests('POST', path, 200);

    return async function record({ request }: { request: Request }): Promise<Response> {
      const startedAt = performance.now();
      const requestId = nextRequestId();
      let items = 1;
      let sender: Principal | undefined;
      let reservation: Reservation | undefined;
      const fail = (error: unknown) =>
        respond(error, { request, route: path, requestId, startedAt, recording: { items, userId: sender?.userId } });
      try {
        const { headers } = request;
        const open = isOpen();
        const authenticated = authenticate(headers, verify);
        sender = authenticated instanceof Promise ? await authenticated : authenticated;
        const userId = recordedUser(headers, sender);
        if (!open) throw new ApiError('shutting_down');
        const error = queue.closedReason();
        if (error) throw error;
        // a body that cannot be stored is not read: that takes as long as storing it
        // (one that is larger than allowed is rejected for that)
        reservation = reservations.reserve(sender.userId, expectedBytes(headers), sender.role !== 'admin');
        if (!reservation) return fail(OVERLOADED);
        const { text, value, bytes: size } = await readJson(request, maxBodyBytes, reservation);
        items = itemsOf(value);
        const body = check(value);
        const shares = sharesOf(userId, body);
        authorize(sender, shares, requestId);
        const key = idempotencyKey(headers);
        limit(sender, shares, size);

        const store = async (cache?: (response: string, seq: number) => CachedResponse) => {
          const names = admit(shares);
          const { records, answer } = make(userId, body, text);
          reservation?.release(); // from here on the queue counts them
          try {
            await queue.store(records, text.length, { response: cache?.(answer, records.at(-1)?.seq ?? 0), names });
          } catch (error) {
            if (names.length > 0) for (const share of shares) userNames.invalidate(share.userId);
            throw error;
          }
          return answer;
        };
        let answer: string;
        let replayed = false;
        if (key === undefined) {
          answer = await store();
        } else {
          const fingerprint = Bun.SHA256.hash(JSON.stringify([sender.userId, text]), 'base64');
          ({ response: answer, replayed } = await idempotency.once({ userId, route: path, key }, fingerprint, store));
        }
        if (replayed) ledger.duplicate(items);
        observe((performance.now() - startedAt) / 1000);
        return new Response(answer, { headers: headersOf(requestId, replayed) });
      } catch (error) {
        return fail(error);
      } finally {
        reservation?.release();
      }
    };
  }

  /** @throws {ApiError} `forbidden` for a caller who may not record for one of the users */
  function authorize(sender: Principal, shares: readonly Share[], requestId: string): void {
    for (const { userId } of shares) {
      if (userId === sender.userId) continue;
      if (sender.role !== 'admin') throw new ApiError('forbidden', { message: ONLY_ADMINS_ACT });
      actAs.note(sender.userId, userId, requestId);
    }
  }

  /** @throws {ApiError} `rate_limited` */
  function limit(sender: Principal, shares: readonly Share[], size: number): void {
    // what an admin records for others must not use up their own limits; user IDs have no control characters
    const keyOf = (userId: string) => (userId === sender.userId ? userId : `${sender.userId}\n${userId}`);
    const withdrawals = shares.map(({ userId, names }) => ({ limit: rows, key: keyOf(userId), amount: names.length }));
    if (sender.role !== 'admin') withdrawals.push({ limit: bytes, key: sender.userId, amount: size });
    takeAll(withdrawals);
  }

  /** Admits the names of a request for each of its users, all or none. */
  function admit(shares: readonly Share[]): UserName[] {
    const admitted: UserName[] = [];
    const issues: ValidationIssue[] = [];
    for (const { userId, names } of shares) {
      try {
        admitted.push(...userNames.admit(userId, names));
      } catch (error) {
        if (!(error instanceof ApiError && error.issues)) throw error;
        issues.push(...error.issues);
      }
    }
    if (issues.length === 0) return admitted;
    for (const { userId } of shares) userNames.invalidate(userId);
    throw new ApiError('too_many_names', { issues: issues.slice(0, MAX_ISSUES) });
  }

  const recordMetric = handlerOf({
    path: '/log_raw_metric',
    itemsOf: () => 1,
    check: (value) => validateLax(metricCheck, withLaxValue(value)),
    sharesOf: (userId, body) => [
      { userId, names: [{ kind: 'metric', name: body.metric_name, loc: ['body', 'metric_name'] }] },
    ],
    make(userId, body) {
      const record = stamper.metric(userId, body, ['body']);
      return { records: [record], answer: `"${record.id}"` };
    },
  });
  const recordAnalytics = handlerOf({
    path: '/log_raw_analytics',
    itemsOf: () => 1,
    check: (value) => validate('body', analyticsCheck, value),
    sharesOf: (userId, body) => [{ userId, names: [{ kind: 'analytics', name: body.type, loc: ['body', 'type'] }] }],
    make(userId, body, text) {
      const data = parseExact(text)?.at('data') ?? JSON.stringify(body.data);
      const record = stamper.analytics(userId, body, String(data), ['body']);
      return { records: [record], answer: `"${record.id}"` };
    },
  });
  const recordBatch = handlerOf({
    path: '/log_batch',
    itemsOf: itemsOfBatch,
    check(value) {
      const body = validate('body', batchCheck, value);
      const items = (body.metrics?.length ?? 0) + (body.analytics?.length ?? 0);
      const issues = batchSizeIssues(items, maxBatchItems);
      if (issues.length > 0) throw new ApiError('validation_failed', { issues });
      return body;
    },
    sharesOf: sharesOfBatch,
    make(userId, body, text) {
      const { metrics, analytics } = stamper.batch(userId, body, parseExact(text));
      const ids = { metrics: metrics.map(({ id }) => id), analytics: analytics.map(({ id }) => id) };
      return { records: [...metrics, ...analytics], answer: JSON.stringify(ids) };
    },
  });

  const app = new Elysia({ name: 'recording' });
  const hidden = { parse: 'none', detail: { hide: true } } as const;
  for (const alias of aliasesOf('/log_raw_metric')) app.post(alias, recordMetric, hidden);
  for (const alias of aliasesOf('/log_raw_analytics')) app.post(alias, recordAnalytics, hidden);
  return app
    .post('/log_raw_metric', recordMetric, {
      parse: 'none',
      detail: recordingRoute(
        'Record a metric',
        'Stores one measured value, such as a load time, for the user of the token.',
        'Metric',
        'RecordId',
      ),
    })
    .post('/log_raw_analytics', recordAnalytics, {
      parse: 'none',
      detail: recordingRoute(
        'Record an analytics event',
        'Stores one thing that the user of the token did, such as a finished step of a tutorial.',
        'Analytics',
        'RecordId',
      ),
    })
    .post('/log_batch', recordBatch, {
      parse: 'none',
      detail: recordingRoute(
        'Record a batch',
        `Stores metrics and events together, all or none: 1 to ${maxBatchItems} items.`,
        'Batch',
        'BatchIds',
      ),
    });
}

/** Returns how many items the parsed body of a batch has, before it is known to be valid; at least 1. */
function itemsOfBatch(body: unknown): number {
  if (typeof body !== 'object' || body === null) return 1;
  const lists = ['metrics', 'analytics'].map((name) => (body as Record<string, unknown>)[name]).filter(Array.isArray);
  return Math.max(
    1,
    lists.reduce((sum, list) => sum + list.length, 0),
  );
}

function headersOf(requestId: string, replayed: boolean): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': 'application/json', ...commonHeaders(requestId) };
  if (replayed) headers['idempotent-replayed'] = 'true';
  return headers;
}

/** Returns a body with its value as a number, where the original service converts it to one. */
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

/** The key of a request that may be repeated: 1 to 255 visible ASCII characters. */
function idempotencyKey(headers: Headers): string | undefined {
  const key = headers.get('idempotency-key');
  if (key === null) return undefined;
  if (/^[\x21-\x7e]{1,255}$/.test(key)) return key;
  const msg = 'String should have 1 to 255 visible ASCII characters';
  throw new ApiError('validation_failed', {
    issues: [{ loc: ['header', 'idempotency-key'], msg, type: 'string_pattern_mismatch' }],
  });
}
