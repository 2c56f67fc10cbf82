/**
 * All errors that a caller can see, by code.
 *
 * `message` states what went wrong, `hint` what to do about it. Both are fixed text and never include values from the
 * request, the database or the configuration, so they cannot leak any. If recording and queries share a code, its text
 * applies to both.
 */
export const ERRORS = {
  invalid_json: {
    message: 'The request body is not valid JSON in UTF-8.',
    hint: 'Send a single JSON object encoded as UTF-8.',
  },
  unauthorized: {
    message: 'Authorization header is missing',
    hint: 'Send "Authorization: Bearer <token>" with a valid, unexpired token.',
  },
  forbidden: {
    message: 'This token does not permit the request.',
    hint: 'Users can record and read their own data. Viewers can read all data but cannot record. Everything else requires the admin role.',
  },
  not_found: {
    message: 'No such route.',
    hint: 'Check the path and the IDs in it. See /swagger for the list of routes.',
  },
  method_not_allowed: {
    message: 'This route does not support the request method.',
    hint: 'Use one of the methods in the Allow header.',
  },
  payload_too_large: {
    message: 'The request body exceeds the size limit.',
    hint: 'Split the data into smaller requests, or ask the operator to raise MAX_BODY_BYTES.',
  },
  unsupported_media_type: {
    message: 'The Content-Type or Content-Encoding of the request is not supported.',
    hint: 'Send "Content-Type: application/json", uncompressed or with "Content-Encoding: gzip".',
  },
  validation_failed: {
    message: 'The request failed validation.',
    hint: 'Correct the fields listed in "detail".',
  },
  idempotency_mismatch: {
    message: 'This Idempotency-Key was already used with a different payload.',
    hint: 'Use a new key for each request. Reuse a key only to retry the same request unchanged.',
  },
  query_too_large: {
    message: 'The query exceeds a limit on result size, memory or execution time.',
    hint: 'Query a shorter range, use longer intervals, or request fewer groups.',
  },
  too_many_names: {
    message: 'This user has reached the limit on distinct metric names and event types.',
    hint: 'Reuse existing names and put variable parts into data_string, data_index or data, or ask the operator to raise MAX_NAMES_PER_USER.',
  },
  rate_limited: {
    message: 'The rate limit was exceeded; the request was rejected.',
    hint: 'Retry after the delay in the Retry-After header.',
  },
  not_supported: {
    message: 'The query engine behind QUERY_URL cannot run this query.',
    hint: 'Use longer intervals or another time zone, or ask the operator to upgrade the query engine.',
  },
  internal: {
    message: 'The server failed to handle the request.',
    hint: 'Retry. If the problem persists, give this request_id to the operator.',
  },
  keys_unavailable: {
    message: 'The keys for verifying tokens could not be fetched.',
    hint: 'Retry in a moment. The token itself has not been checked yet.',
  },
  storage_unavailable: {
    message: 'The database is temporarily unavailable.',
    hint: 'Retry in a moment. If the problem persists, check the server log for the cause.',
  },
  storage_full: {
    message: 'The disk that holds the database is full or nearly full.',
    hint: 'Free disk space on the server, then retry.',
  },
  overloaded: {
    message: 'The commit queue is full; nothing was stored.',
    hint: 'Retry after the delay in the Retry-After header, and reduce the request rate.',
  },
  queries_overloaded: {
    message: 'The server has reached its limit on concurrent queries and live tails.',
    hint: 'Retry after the delay in the Retry-After header, and run fewer queries and live tails at once.',
  },
  shutting_down: {
    message: 'The server is shutting down; the request was rejected.',
    hint: 'Retry in a moment.',
  },
} as const satisfies Record<string, { message: string; hint: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** Why a request was not authenticated: the reasons by which `/metrics` counts rejected tokens. */
export const TOKEN_REJECTIONS = [
  'missing',
  'malformed',
  'algorithm',
  'unknown_key',
  'unusable_key',
  'signature',
  'expired',
  'not_yet_valid',
  'audience',
  'issuer',
  'claims',
  'sign_in_link',
  'shared_link',
  'keys_unavailable',
] as const;
export type TokenRejection = (typeof TOKEN_REJECTIONS)[number];

/**
 * A validation issue, in the format and wording of FastAPI's 422 responses.
 * `loc` is the path to the value, starting with `body`, `header`, `path` or `query`; numbers are list indexes.
 */
export interface ValidationIssue {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly type: string;
}

/** The limit that a `rate_limited` caller has exceeded. */
export interface Quota {
  readonly name: string;
  /** How much is allowed per window: rows, bytes or failed authentications. */
  readonly amount: number;
  /** In seconds. */
  readonly window: number;
  readonly remaining: number;
}

interface ApiErrorOptions {
  /** Overrides the message in the table, for codes that have several. Fixed text only. */
  readonly message?: string;
  /** Validation issues, for codes with status 422. */
  readonly issues?: readonly ValidationIssue[];
  /** The exceeded limit, for `rate_limited`. */
  readonly quota?: Quota;
  /** Value of the Retry-After header, in seconds. */
  readonly retryAfter?: number;
  /** For `unauthorized`: whether the token's signature is valid. If so, AUTH_FAILURE_LIMIT does not count the error. */
  readonly isSigned?: boolean;
  /** For `unauthorized`: what is wrong with the token. */
  readonly tokenRejection?: TokenRejection;
  /** The underlying error. It is logged but never sent. */
  readonly cause?: unknown;
}

/** An error from the table above. Callers see no other errors. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ErrorCode;
  readonly hint: string;
  readonly issues: readonly ValidationIssue[] | undefined;
  readonly quota: Quota | undefined;
  readonly retryAfter: number | undefined;
  readonly isSigned: boolean;
  readonly tokenRejection: TokenRejection | undefined;

  constructor(code: ErrorCode, options: ApiErrorOptions = {}) {
    super(options.message ?? ERRORS[code].message, { cause: options.cause });
    this.code = code;
    this.hint = ERRORS[code].hint;
    this.issues = options.issues;
    this.quota = options.quota;
    this.retryAfter = options.retryAfter;
    this.isSigned = options.isSigned ?? false;
    this.tokenRejection = options.tokenRejection;
  }
}
