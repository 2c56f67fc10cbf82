import type { CachedVerifier } from '../auth/token-cache.ts';
import type { Principal } from '../auth/verifier.ts';
import type { Config } from '../config.ts';
import { ApiError, ERRORS, type ErrorCode, type ValidationIssue } from '../errors.ts';
import type { NameTest } from '../formats/name-patterns.ts';
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { FreeSpace } from '../ingest/free-space.ts';
import type { Idempotency } from '../ingest/idempotency.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { RateLimit } from '../ingest/rate-limit.ts';
import type { Rejections } from '../ingest/rejections.ts';
import type { Reservation, Reservations } from '../ingest/reservations.ts';
import type { Stamper } from '../ingest/stamper.ts';
import type { NameUse, UserNames } from '../ingest/user-names.ts';
import type { LogRecord } from '../records.ts';
import type { CachedResponse, UserName } from '../storage/writer.ts';
import type { ActAsLog } from './act-as-log.ts';
import { authenticate, ONLY_ADMINS_ACT, recordedUser } from './auth.ts';
import { expectedBytes, readJson } from './body.ts';
import type { ErrorResponder } from './error-response.ts';
import type { HeaderFields } from './header-fields.ts';
import type { Metrics } from './metrics.ts';
import { type PlainResponse, toResponse } from './plain-response.ts';
import type { RecordingRequest } from './recording-request.ts';
import { jsonHeaders } from './request-start.ts';
import type { Tracing } from './tracing.ts';
import { MAX_ISSUES } from './validation.ts';

/**
 * The error for a request without room for its body. Created once, because capturing a stack trace takes longer than
 * the whole response.
 */
const OVERLOADED = new ApiError('overloaded');
/** The error while the disk is too full. Also created once. */
const STORAGE_FULL = new ApiError('storage_full');

/** The validation issue for a name that may not be recorded. */
export const NAME_NOT_ALLOWED: Pick<ValidationIssue, 'msg' | 'type'> = {
  msg: 'Value error, this name may not be recorded',
  type: 'value_error',
};

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
  /** Lists the rejected items of accepted requests. */
  readonly rejections: Pick<Rejections, 'add'>;
  /** Turns an error into a response and counts the items as rejected. */
  readonly respond: ErrorResponder;
  readonly nextRequestId: () => string;
  readonly limits: Pick<Config, 'maxBodyBytes' | 'maxBatchItems' | 'isAllowedName'>;
  /** Undefined if traces are not exported. */
  readonly tracing: Pick<Tracing, 'handler'> | undefined;
}

/** The part of a recording route that depends on its body. */
export interface RecordingRoute<Body> {
  readonly path: string;
  /** Returns the number of items in a parsed body before validation. */
  readonly countItems: (value: unknown) => number;
  /** Validates a parsed body; throws `validation_failed`. */
  readonly check: (value: unknown) => Body;
  /** Returns the rows of a validated body by user; items without a `user_id` belong to `userId`. */
  readonly sharesOf: (userId: string, body: Body) => Share[];
  /**
   * Creates the records of a validated request and the response body, and admits their names last, because admitted
   * names of a rejected request would count toward the limit.
   *
   * @param admit see {@link Admit}
   */
  readonly prepare: (request: Validated<Body>, admit: Admit) => Prepared;
  /**
   * Whether a repeated body is recognized without an Idempotency-Key, because two requests cannot have the same body
   * by chance.
   */
  readonly isUnique?: (body: Body) => boolean;
}

/**
 * Admits the names in a request for each of its users, all or none, and returns the new ones.
 *
 * @throws {ApiError} `validation_failed` if a name is not among those that may be recorded, or `too_many_names`
 */
export type Admit = (shares: readonly Share[]) => readonly UserName[];

/** A validated request. */
export interface Validated<Body> {
  /** The user that it records for. */
  readonly userId: string;
  readonly body: Body;
  /** The body as sent. */
  readonly text: string;
  readonly shares: readonly Share[];
  /** Whether its timestamps may be of any age. */
  readonly isAnyAge: boolean;
}

/** What a request stores. */
export interface Prepared {
  readonly records: readonly LogRecord[];
  /** Names that its users record for the first time. */
  readonly names: readonly UserName[];
  readonly response: string;
  /** Items that are rejected although the request is accepted. */
  readonly rejected?: readonly RejectedItems[];
}

/** Rejected items of an accepted request. */
export interface RejectedItems {
  readonly code: ErrorCode;
  readonly items: number;
  readonly issues: readonly ValidationIssue[];
}

/** The rows of a request that belong to one user. */
export interface Share {
  readonly userId: string;
  /** The name of each row. */
  readonly names: NameUse[];
}

/** A request in progress. */
interface Accepted<Body> extends Validated<Body> {
  readonly caller: Principal;
  readonly requestId: string;
  readonly reservation: Reservation;
}

/**
 * Creates the function that creates the handlers of a recording route. A request is authenticated by its headers, then
 * its body is read, parsed and validated, its records are committed through the commit queue, and then it is
 * acknowledged.
 *
 * All of this happens in one handler, in that order, with Elysia's body parsing disabled. Elysia's hooks do not fit:
 * those that run before the body is read do not know the route, and route hooks run after the body is validated, so an
 * anonymous caller would get validation issues.
 *
 * The handler also does the work of the other routes' hooks: it assigns the request ID, observes the duration, catches
 * errors, and creates a response with all headers. Otherwise Elysia would merge the headers, which took 4.6 µs per
 * request in a test server that needed 17 µs without it.
 */
export function recordingHandlers(parts: RecordingParts) {
  const { verify, queue, reservations, idempotency, userNames, ledger, metrics, respond, nextRequestId } = parts;
  const { rows, bytes, actAs, isOpen, freeSpace, rejections, tracing } = parts;
  const { maxBodyBytes, isAllowedName } = parts.limits;

  function createHandler<Body>({ path, countItems, check, sharesOf, prepare, isUnique }: RecordingRoute<Body>) {
    const observe = metrics.requests('POST', path, 200);

    /** Stores a validated request. Resolves with the response body once its records are on disk. */
    async function store(
      accepted: Accepted<Body>,
      cache?: (response: string, seq: number) => CachedResponse,
    ): Promise<string> {
      const { text, shares, reservation } = accepted;
      const { records, response, names, rejected } = prepare(accepted, admit);
      reservation.release(); // from here on, the commit queue counts these bytes
      const cached = cache?.(response, records.at(-1)?.seq ?? 0);
      const extras = cached || names.length > 0 ? { response: cached, names } : undefined;
      try {
        if (records.length > 0 || cached) await queue.store(records, text.length, extras);
      } catch (error) {
        if (names.length > 0) for (const share of shares) userNames.invalidate(share.userId);
        throw error;
      }
      if (rejected) rejectItems(accepted, rejected);
      return response;
    }

    /** Counts the rejected items of an accepted request. */
    function rejectItems({ caller, requestId }: Accepted<Body>, rejected: readonly RejectedItems[]): void {
      for (const { code, items, issues } of rejected) {
        ledger.reject(code, items);
        const { message } = ERRORS[code];
        rejections.add({ code, route: path, items, userId: caller.userId, requestId, message, issues });
      }
    }

    async function record<Response>(
      request: RecordingRequest,
      create: (response: PlainResponse) => Response,
    ): Promise<Response> {
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
        const sentKey = idempotencyKey(headers);
        limit(caller, shares, size);

        const isAnyAge = caller.role === 'admin';
        const accepted = { userId, body, text, shares, isAnyAge, caller, requestId, reservation };
        let response: string;
        let isReplayed = false;
        if (sentKey === undefined && !isUnique?.(body)) {
          response = await store(accepted);
        } else {
          const fingerprint = fingerprintOf(caller, text);
          const scope = { userId, route: path, key: sentKey ?? `sha256:${fingerprint}` };
          const result = await idempotency.once(scope, fingerprint, (cache) => store(accepted, cache));
          ({ response, replayed: isReplayed } = result);
        }
        if (isReplayed) ledger.duplicate(items);
        observe((performance.now() - startedAt) / 1000);
        return create({ status: 200, headers: headersOf(requestId, isReplayed), body: response });
      } catch (error) {
        const failed = {
          ...{ request, route: path, requestId, startedAt },
          recording: { items: Math.max(1, items), userId: caller?.userId },
        };
        return create(respond(error, failed));
      } finally {
        reservation?.release();
      }
    }
    const handle = tracing ? tracing.handler(path, record) : record;
    return {
      /** Handles a request that this thread has received. Elysia reads the source of its parameters. */
      onRequest: ({ request }: { request: Request }) => handle(request, toResponse),
      /** Handles a request that a receiver has read. */
      onReceived: (request: RecordingRequest) => handle(request, (response) => response),
    };
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

  /** See {@link Admit}. */
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

  return createHandler;
}

/**
 * Checks that all names in a request may be recorded.
 *
 * @throws {ApiError} `validation_failed`
 */
function checkNames(shares: readonly Share[], isAllowedName: NameTest): void {
  const issues = shares.flatMap(({ names }) =>
    names.filter(({ name }) => !isAllowedName(name)).map(({ loc }): ValidationIssue => ({ loc, ...NAME_NOT_ALLOWED })),
  );
  if (issues.length > 0) throw new ApiError('validation_failed', { issues: issues.slice(0, MAX_ISSUES) });
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

function headersOf(requestId: string, isReplayed: boolean): Record<string, string> {
  const headers = jsonHeaders(requestId);
  return isReplayed ? { ...headers, 'idempotent-replayed': 'true' } : headers;
}

/**
 * Returns the idempotency key of a request, if it has one.
 *
 * @throws {ApiError} `validation_failed` unless the key is 1 to 255 visible ASCII characters
 */
function idempotencyKey(headers: HeaderFields): string | undefined {
  const key = headers.get('idempotency-key');
  if (key === null) return undefined;
  if (/^[\x21-\x7e]{1,255}$/.test(key)) return key;
  const msg = 'String should have 1 to 255 visible ASCII characters';
  throw new ApiError('validation_failed', {
    issues: [{ loc: ['header', 'idempotency-key'], msg, type: 'string_pattern_mismatch' }],
  });
}
