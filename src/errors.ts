/**
 * The closed set of errors that a caller can see.
 *
 * `message` says what went wrong and `hint` what to do about it. Both are fixed text: nothing from the request,
 * the database or the configuration is ever put into them, so that neither can leak. Where recording and queries
 * share a code, the text is true for both.
 */
export const ERRORS = {
  invalid_json: {
    message: 'The body is not valid JSON in UTF-8.',
    hint: 'Send one JSON object, encoded in UTF-8.',
  },
  unauthorized: {
    message: 'Authorization header is missing',
    hint: 'Send "Authorization: Bearer <token>" with a current token of your product.',
  },
  forbidden: {
    message: 'This token does not allow that.',
    hint: 'Tokens record and read for their own user. Reading other users takes a viewer or admin role, anything else an admin role.',
  },
  not_found: {
    message: 'No such route.',
    hint: 'The routes are listed at /swagger.',
  },
  method_not_allowed: {
    message: 'This route does not accept that method.',
    hint: 'The Allow header names the methods that it accepts.',
  },
  payload_too_large: {
    message: 'The body is larger than this server accepts.',
    hint: 'Send less in one request, or raise MAX_BODY_BYTES.',
  },
  unsupported_media_type: {
    message: 'The body is not JSON, or has an encoding that is not supported.',
    hint: 'Send "Content-Type: application/json", plain or with "Content-Encoding: gzip".',
  },
  validation_failed: {
    message: 'The request does not have the expected form.',
    hint: 'Correct the fields that "detail" lists.',
  },
  idempotency_mismatch: {
    message: 'This Idempotency-Key was used before, with another payload.',
    hint: 'Use a new key for each request, and the same one only to repeat it as it was.',
  },
  query_too_large: {
    message: 'The query exceeds a limit: its result is too large, or it takes too long.',
    hint: 'Query a shorter range, longer intervals, or fewer groups.',
  },
  too_many_names: {
    message: 'This user has recorded as many distinct metric names and event types as the server allows.',
    hint: 'Reuse existing names and put what varies into data_string, data_index or data, or raise MAX_NAMES_PER_USER.',
  },
  rate_limited: {
    message: 'The rate limit is exceeded; the request was rejected.',
    hint: 'Retry after the delay in the Retry-After header.',
  },
  internal: {
    message: 'The server failed to handle the request.',
    hint: 'Retry. If the problem persists, give this request_id to the operator.',
  },
  keys_unavailable: {
    message: 'The keys that verify tokens could not be fetched yet.',
    hint: 'Retry in a moment; the token itself was not judged.',
  },
  storage_unavailable: {
    message: 'The database is not available at the moment.',
    hint: "Retry in a moment. If the problem persists, the server's log names the cause.",
  },
  storage_full: {
    message: 'The disk of the database is full.',
    hint: 'Free disk space on the server, then retry.',
  },
  overloaded: {
    message: 'The write queue is full; nothing was stored.',
    hint: 'Retry after the delay in the Retry-After header, and send less at once.',
  },
  queries_overloaded: {
    message: 'The server has as many queries and live tails running as it accepts.',
    hint: 'Retry after the delay in the Retry-After header, with fewer at once.',
  },
  shutting_down: {
    message: 'The server is shutting down; the request was rejected.',
    hint: 'Retry in a moment.',
  },
} as const satisfies Record<string, { message: string; hint: string }>;

export type ErrorCode = keyof typeof ERRORS;

/**
 * One fault in the input, in the form and words of FastAPI's 422 answers.
 * `loc` is the path to the value, from `body`, `header` or `query` down; numbers are list positions.
 */
export interface ValidationIssue {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly type: string;
}

/** The limit that a `rate_limited` caller has met. */
export interface Quota {
  readonly name: string;
  /** So much in so many seconds. */
  readonly amount: number;
  readonly window: number;
  readonly remaining: number;
}

interface ApiErrorOptions {
  /** Stands for the table's message where the contract has several for one code. Fixed text only. */
  readonly message?: string;
  /** For what is answered with 422: what is wrong, field by field. */
  readonly issues?: readonly ValidationIssue[];
  /** For `rate_limited`: the limit, and after how many seconds a retry makes sense. */
  readonly quota?: Quota;
  readonly retryAfter?: number;
  /** For `unauthorized`: whether the token's signature verifies, so that it is not a guess. */
  readonly isSigned?: boolean;
  /** The real error. It is logged, and never sent. */
  readonly cause?: unknown;
}

/** An error with a place in the closed table: the only kind that a caller learns anything of. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ErrorCode;
  readonly hint: string;
  readonly issues: readonly ValidationIssue[] | undefined;
  readonly quota: Quota | undefined;
  readonly retryAfter: number | undefined;
  readonly isSigned: boolean;

  constructor(code: ErrorCode, options: ApiErrorOptions = {}) {
    super(options.message ?? ERRORS[code].message, { cause: options.cause });
    this.code = code;
    this.hint = ERRORS[code].hint;
    this.issues = options.issues;
    this.quota = options.quota;
    this.retryAfter = options.retryAfter;
    this.isSigned = options.isSigned ?? false;
  }
}
