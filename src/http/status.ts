import type { ErrorCode } from '../errors.ts';

/** The HTTP status of each error code. */
export const STATUS_BY_CODE = {
  invalid_json: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  payload_too_large: 413,
  unsupported_media_type: 415,
  validation_failed: 422,
  idempotency_mismatch: 422,
  query_too_large: 422,
  too_many_names: 422,
  rate_limited: 429,
  internal: 500,
  not_supported: 501,
  keys_unavailable: 503,
  storage_unavailable: 503,
  storage_full: 503,
  overloaded: 503,
  queries_overloaded: 503,
  shutting_down: 503,
} as const satisfies Record<ErrorCode, number>;
