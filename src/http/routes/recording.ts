import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import type { Principal } from '../../auth/verifier.ts';
import type { Config } from '../../config.ts';
import { ApiError, type ValidationIssue } from '../../errors.ts';
import { parseExact } from '../../formats/json.ts';
import { laxNumber } from '../../formats/lax-number.ts';
import type { NameTest } from '../../formats/name-patterns.ts';
import type { CommitQueue } from '../../ingest/commit-queue.ts';
import type { FreeSpace } from '../../ingest/free-space.ts';
import type { Idempotency } from '../../ingest/idempotency.ts';
import type { Ledger } from '../../ingest/ledger.ts';
import type { RateLimit } from '../../ingest/rate-limit.ts';
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
import { documentRecording } from '../openapi.ts';
import { jsonHeaders } from '../request-start.ts';
import type { Tracing } from '../tracing.ts';
import { batchSizeIssues, MAX_ISSUES, validate, validateLax } from '../validation.ts';

/**
 * The error for a request without room for its body. Created once, because capturing a stack trace takes longer than
 * the whole response.
 */
const OVERLOADED = new ApiError('overloaded');
/** The error while the disk is too full. Also created once. */
const STORAGE_FULL = new ApiError('storage_full');

// paths in the bodies of the single routes, created once
const BODY: ValidationIssue['loc'] = ['body'];
const METRIC_NAME: ValidationIssue['loc'] = ['body', 'metric_name'];
const EVENT_TYPE: ValidationIssue['loc'] = ['body', 'type'];

/** Dependencies of the recording routes. */
export interface RecordingParts {
  readonly verify: CachedVerifier;
  readonly queue: CommitQueue;
  readonly reservations: Reservations;
  readonly freeSpace: Pick<FreeSpace, 'isShort'>;
  readonly idempotency: Idempotency;
  readonly stamper: Stamper;
  readonly userNames: UserNames;
  readonly ledger: Ledger;
  /** Limits rows per user; rows that an admin records for another user are limited per admin and user. */
  readonly rows: RateLimit;
  /** Limits body bytes per caller, except for admins. */
  readonly bytes: RateLimit;
  /** Logs admins who record for other users. */
  readonly actAs: ActAsLog;
  /** Returns whether the server accepts new records. */
  readonly isOpen: () => boolean;
  readonly metrics: Pick<Metrics, 'requests'>;
  /** Turns an error into a response and counts the items as rejected. */
  readonly respond: ErrorResponder;
  readonly nextRequestId: () => string;
  readonly limits: Pick<Config, 'maxBodyBytes' | 'maxBatchItems' | 'isAllowedName'>;
  /** Undefined if traces are not exported. */
  readonly tracing: Pick<Tracing, 'handler'> | undefined;
}

/** The part of a recording route that depends on its body. */
interface RecordingRoute<Body> {
  readonly path: string;
  /** Returns the number of items in a parsed body before validation. */
  readonly countItems: (value: unknown) => number;
  /** Validates a parsed body; throws `validation_failed`. */
  readonly check: (value: unknown) => Body;
  /** Returns the rows of a validated body by user; items without a `user_id` belong to `userId`. */
  readonly sharesOf: (userId: string, body: Body) => Share[];
  /**
   * Creates the records of a validated body and the response body with their IDs; `text` is the body as sent. Timestamps
   * may be of any age if `isAnyAge`.
   */
  readonly createRecords: (
    userId: string,
    body: Body,
    text: string,
    isAnyAge: boolean,
  ) => { records: LogRecord[]; response: string };
}

/** A request that may be stored. */
interface Validated<Body> {
  /** The user that it records for. */
  readonly userId: string;
  readonly body: Body;
  /** The body as sent. */
  readonly text: string;
  readonly shares: readonly Share[];
  /** Whether its timestamps may be of any age. */
  readonly isAnyAge: boolean;
  readonly reservation: Reservation;
}

/** The rows of a request that belong to one user. */
interface Share {
  readonly userId: string;
  /** The name of each row. */
  readonly names: NameUse[];
}

/**
 * Creates the recording routes. A request is authenticated by its headers, then its body is read, parsed and validated,
 * its records are committed through the commit queue, and their IDs are returned.
 *
 * All of this happens in one handler, in that order, with Elysia's body parsing disabled. Elysia's hooks do not fit:
 * those that run before the body is read do not know the route, and route hooks run after the body is validated, so an
 * anonymous caller would get validation issues.
 *
 * The handler also does the work of the other routes' hooks: it assigns the request ID, observes the duration, catches
 * errors, and returns a `Response` with all headers. Otherwise Elysia would merge the headers, which took 4.6 µs per
 * request in a test server that needed 17 µs without it.
 */
export function recordingRoutes(parts: RecordingParts) {
  const { verify, queue, reservations, idempotency, stamper, userNames, ledger, metrics, respond, nextRequestId } =
    parts;
  const { rows, bytes, actAs, isOpen, freeSpace, tracing } = parts;
  const { maxBodyBytes, maxBatchItems, isAllowedName } = parts.limits;

  function createHandler<Body>({ path, countItems, check, sharesOf, createRecords }: RecordingRoute<Body>) {
    const observe = metrics.requests('POST', path, 200);

    /** Stores a validated request. Resolves with the response body once its records are on disk. */
    async function store(
      { userId, body, text, shares, isAnyAge, reservation }: Validated<Body>,
      cache?: (response: string, seq: number) => CachedResponse,
    ): Promise<string> {
      const { records, response } = createRecords(userId, body, text, isAnyAge);
      // last, because admitted names of a rejected request would count toward the limit
      const names = admit(shares);
      reservation.release(); // from here on, the commit queue counts these bytes
      const cached = cache?.(response, records.at(-1)?.seq ?? 0);
      try {
        await queue.store(records, text.length, cached || names.length > 0 ? { response: cached, names } : undefined);
      } catch (error) {
        if (names.length > 0) for (const share of shares) userNames.invalidate(share.userId);
        throw error;
      }
      return response;
    }

    async function record({ request }: { request: Request }): Promise<Response> {
      const startedAt = performance.now();
      const requestId = nextRequestId();
      let items = 1;
      let caller: Principal | undefined;
      let reservation: Reservation | undefined;
      try {
        const { headers } = request;
        const isAccepting = isOpen();
        const authenticated = authenticate(headers, verify);
        caller = authenticated instanceof Promise ? await authenticated : authenticated;
        const userId = recordedUser(headers, caller);
        if (!isAccepting) throw new ApiError('shutting_down');
        const closedReason = queue.closedReason();
        if (closedReason) throw closedReason;
        if (freeSpace.isShort()) throw STORAGE_FULL;
        // reject before reading the body, because reading it takes as long as storing it
        reservation = reservations.reserve(caller.userId, expectedBytes(headers), caller.role !== 'admin');
        if (!reservation) throw OVERLOADED;
        const { text, value, bytes: size } = await readJson(request, maxBodyBytes, reservation);
        items = countItems(value);
        const body = check(value);
        const shares = sharesOf(userId, body);
        authorize(caller, shares, requestId);
        const key = idempotencyKey(headers);
        limit(caller, shares, size);

        const validated = { userId, body, text, shares, isAnyAge: caller.role === 'admin', reservation };
        let response: string;
        let isReplayed = false;
        if (key === undefined) {
          response = await store(validated);
        } else {
          const scope = { userId, route: path, key };
          const result = await idempotency.once(scope, fingerprintOf(caller, text), (cache) => store(validated, cache));
          ({ response, replayed: isReplayed } = result);
        }
        if (isReplayed) ledger.duplicate(items);
        observe((performance.now() - startedAt) / 1000);
        return new Response(response, { headers: headersOf(requestId, isReplayed) });
      } catch (error) {
        return respond(error, {
          ...{ request, route: path, requestId, startedAt },
          recording: { items, userId: caller?.userId },
        });
      } finally {
        reservation?.release();
      }
    }
    return tracing ? tracing.handler(path, record) : record;
  }

  /**
   * Checks that a caller may record for the users of a request.
   *
   * @throws {ApiError} `forbidden`
   */
  function authorize(caller: Principal, shares: readonly Share[], requestId: string): void {
    for (const { userId } of shares) {
      if (userId === caller.userId) continue;
      if (caller.role !== 'admin') throw new ApiError('forbidden', { message: ONLY_ADMINS_ACT });
      actAs.report(caller.userId, userId, requestId);
    }
  }

  /**
   * Applies the rate limits to a request.
   *
   * @throws {ApiError} `rate_limited`
   */
  function limit(caller: Principal, shares: readonly Share[], size: number): void {
    // all or none: nothing is taken before everything is checked
    for (const { userId, names } of shares) rows.check(bucketOf(caller, userId), names.length);
    if (caller.role !== 'admin') bytes.take(caller.userId, size);
    for (const { userId, names } of shares) rows.take(bucketOf(caller, userId), names.length);
  }

  /**
   * Admits the names in a request for each of its users: all of them or none.
   *
   * @throws {ApiError} `validation_failed` if a name is not among those that may be recorded, or `too_many_names`
   */
  function admit(shares: readonly Share[]): readonly UserName[] {
    if (isAllowedName) checkNames(shares, isAllowedName);
    let admitted: readonly UserName[] = [];
    const issues: ValidationIssue[] = [];
    for (const { userId, names } of shares) {
      try {
        const added = userNames.admit(userId, names);
        admitted = admitted.length === 0 ? added : [...admitted, ...added];
      } catch (error) {
        if (!(error instanceof ApiError && error.issues)) throw error;
        issues.push(...error.issues);
      }
    }
    if (issues.length === 0) return admitted;
    for (const { userId } of shares) userNames.invalidate(userId);
    throw new ApiError('too_many_names', { issues: issues.slice(0, MAX_ISSUES) });
  }

  const recordMetric = createHandler({
    path: '/log_raw_metric',
    countItems: () => 1,
    check: (value) => validateLax(metricCheck, withLaxValue(value)),
    sharesOf: (userId, body) => [{ userId, names: [{ kind: 'metric', name: body.metric_name, loc: METRIC_NAME }] }],
    createRecords(userId, body, _text, isAnyAge) {
      const record = stamper.metric(userId, body, isAnyAge, BODY);
      return { records: [record], response: `"${record.id}"` };
    },
  });
  const recordAnalytics = createHandler({
    path: '/log_raw_analytics',
    countItems: () => 1,
    check: (value) => validate('body', analyticsCheck, value),
    sharesOf: (userId, body) => [{ userId, names: [{ kind: 'analytics', name: body.type, loc: EVENT_TYPE }] }],
    createRecords(userId, body, text, isAnyAge) {
      const data = parseExact(text)?.at('data') ?? JSON.stringify(body.data);
      const record = stamper.analytics(userId, body, String(data), isAnyAge, BODY);
      return { records: [record], response: `"${record.id}"` };
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
    createRecords(userId, body, text, isAnyAge) {
      const { metrics, analytics } = stamper.batch(userId, body, parseExact(text), isAnyAge);
      const ids = { metrics: metrics.map(({ id }) => id), analytics: analytics.map(({ id }) => id) };
      return { records: [...metrics, ...analytics], response: JSON.stringify(ids) };
    },
  });

  const app = new Elysia({ name: 'recording' });
  const hidden = { parse: 'none', detail: { hide: true } } as const;
  for (const alias of aliasesOf('/log_raw_metric')) app.post(alias, recordMetric, hidden);
  for (const alias of aliasesOf('/log_raw_analytics')) app.post(alias, recordAnalytics, hidden);
  return app
    .post('/log_raw_metric', recordMetric, {
      parse: 'none',
      detail: documentRecording(
        'recordMetric',
        'Record one metric',
        "Stores one measured value, such as a page load time, for the token's user.",
        'Metric',
        'RecordId',
      ),
    })
    .post('/log_raw_analytics', recordAnalytics, {
      parse: 'none',
      detail: documentRecording(
        'recordEvent',
        'Record one event',
        "Stores one event, such as a completed tutorial step, for the token's user.",
        'Analytics',
        'RecordId',
      ),
    })
    .post('/log_batch', recordBatch, {
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

/**
 * Checks that all names in a request may be recorded.
 *
 * @throws {ApiError} `validation_failed`
 */
function checkNames(shares: readonly Share[], isAllowedName: NameTest): void {
  const issues = shares.flatMap(({ names }) =>
    names
      .filter(({ name }) => !isAllowedName(name))
      .map(
        ({ loc }): ValidationIssue => ({ loc, msg: 'Value error, this name may not be recorded', type: 'value_error' }),
      ),
  );
  if (issues.length > 0) throw new ApiError('validation_failed', { issues: issues.slice(0, MAX_ISSUES) });
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

/**
 * Returns the key of the row limit's bucket. Rows that an admin records for other users must not count against those
 * users' limits.
 */
function bucketOf({ userId: callerId }: Principal, userId: string): string {
  // the separator is safe because user IDs contain no control characters
  return userId === callerId ? userId : `${callerId}\n${userId}`;
}

/** Returns the fingerprint that identifies the payload of a caller's request. */
function fingerprintOf({ userId }: Principal, text: string): string {
  return Bun.SHA256.hash(JSON.stringify([userId, text]), 'base64');
}

function headersOf(requestId: string, isReplayed: boolean): HeadersInit {
  const headers = jsonHeaders(requestId);
  return isReplayed ? { ...headers, 'idempotent-replayed': 'true' } : headers;
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

/**
 * Returns the idempotency key of a request, if it has one.
 *
 * @throws {ApiError} `validation_failed` unless the key is 1 to 255 visible ASCII characters
 */
function idempotencyKey(headers: Headers): string | undefined {
  const key = headers.get('idempotency-key');
  if (key === null) return undefined;
  if (/^[\x21-\x7e]{1,255}$/.test(key)) return key;
  const msg = 'String should have 1 to 255 visible ASCII characters';
  throw new ApiError('validation_failed', {
    issues: [{ loc: ['header', 'idempotency-key'], msg, type: 'string_pattern_mismatch' }],
  });
}
