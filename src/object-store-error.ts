/** What a request does, with the permission that it needs. */
const PERMISSIONS = {
  list: 's3:ListBucket',
  read: 's3:GetObject',
  write: 's3:PutObject',
  delete: 's3:DeleteObject',
} as const;
export type ObjectAction = keyof typeof PERMISSIONS;

/** Codes of a service that are worth another try (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). */
const BUSY = new Set(['SlowDown', 'InternalError', 'ServiceUnavailable', 'RequestTimeout', 'OperationAborted']);
const REJECTED_CREDENTIALS = new Set([
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'InvalidToken',
  'TokenRefreshRequired',
  'InvalidSecurity',
  'Unauthorized',
]);
const OTHER_REGION = new Set([
  'PermanentRedirect',
  'TemporaryRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
]);
/** Codes of Bun's HTTP client when no connection can be made. */
const UNREACHABLE =
  /^(?:ConnectionRefused|FailedToOpenSocket|E[A-Z_]*|DNS.*|TLS.*|.*CERT.*|.*SIGNATURE.*|.*Certificate.*)$/;
/** Codes of Bun's HTTP client when a connection ends early. */
const INTERRUPTED = new Set(['ConnectionClosed', 'ConnectionReset', 'Timeout', 'ECONNRESET', 'HTTPClosed']);

const TRANSIENT = { isTransient: true };
const REJECTION = { isRejection: true };

/** A request to S3 that failed. The message is a sentence for the operator, without credentials. */
export class ObjectStoreError extends Error {
  override readonly name: string = 'ObjectStoreError';
  /** Whether the same request may succeed soon. */
  readonly isTransient: boolean;
  /** Whether the operator must change the bucket, its permissions or the credentials first. */
  readonly isRejection: boolean;

  constructor(message: string, { isTransient = false, isRejection = false } = {}) {
    super(message);
    this.isTransient = isTransient;
    this.isRejection = isRejection;
  }
}

/** An object is not, or no longer, the one that was read: another server has changed it. */
export class ObjectChangedError extends ObjectStoreError {
  override readonly name = 'ObjectChangedError';

  constructor(key: string) {
    super(`Another server has changed the object ${key} meanwhile. Retry.`);
  }
}

/**
 * Explains an error of a request to S3. Only its code is used: the message of a service can contain the ID of the key, and
 * that of a client the signed URL.
 *
 * @param place the host of the service
 */
export function explainS3Error(error: unknown, action: ObjectAction, bucket: string, place: string): Error {
  if (error instanceof ObjectStoreError) return error;
  const code = codeOf(error);
  if (code === 'NoSuchBucket') {
    return new ObjectStoreError(`There is no bucket ${bucket} at ${place}. Create it, or correct its name.`, REJECTION);
  }
  if (code === 'NoSuchKey')
    return new ObjectStoreError(`An object in the bucket ${bucket} was removed meanwhile. Retry.`);
  if (code === 'AccessDenied' || code === 'Forbidden') {
    return new ObjectStoreError(
      `The S3 credentials may not ${action} objects in the bucket ${bucket}. Grant them ${PERMISSIONS[action]}.`,
      REJECTION,
    );
  }
  if (code === 'ExpiredToken') {
    return new ObjectStoreError(
      'The S3 session token has expired. Set S3_SESSION_TOKEN and its keys to current ones.',
      REJECTION,
    );
  }
  if (code === 'RequestTimeTooSkewed') {
    return new ObjectStoreError(`The clock of this machine differs from that of ${place}. Synchronize it.`);
  }
  if (REJECTED_CREDENTIALS.has(code)) {
    return new ObjectStoreError(
      `${place} rejects the S3 credentials (${code}). Check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY.`,
      REJECTION,
    );
  }
  if (OTHER_REGION.has(code)) {
    return new ObjectStoreError(
      `The bucket ${bucket} is in another region (${code}). Set S3_REGION, and S3_ENDPOINT if you use one.`,
      REJECTION,
    );
  }
  if (BUSY.has(code))
    return new ObjectStoreError(`${place} is overloaded or failing (${code}). Retry later.`, TRANSIENT);
  if (INTERRUPTED.has(code)) {
    return new ObjectStoreError(`The connection to ${place} was interrupted (${code}). Retry later.`, TRANSIENT);
  }
  if (UNREACHABLE.test(code)) {
    return new ObjectStoreError(`${place} cannot be reached (${code}). Check S3_ENDPOINT and the network.`);
  }
  return new ObjectStoreError(`${place} could not ${action} objects in the bucket ${bucket} (${code}).`);
}

/** Returns the error of a request that takes too long. */
export function timeoutError(place: string, seconds: number): ObjectStoreError {
  return new ObjectStoreError(
    `${place} did not respond within ${seconds} seconds. Check the network, then retry.`,
    TRANSIENT,
  );
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^\w{1,64}$/.test(code) ? code : 'unknown error';
}
