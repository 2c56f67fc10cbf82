import { errors } from 'jose';
import { ApiError, type TokenRejection } from '../errors.ts';

/** Returns the error for an unacceptable token with a valid signature. */
export function claimError(tokenRejection: TokenRejection, message: string, cause?: unknown): ApiError {
  return new ApiError('unauthorized', { message, isSigned: true, tokenRejection, cause });
}

/** Returns the error for a token whose signature is not valid, or was not verified. */
export function invalidTokenError(tokenRejection: TokenRejection, reason: string, cause?: unknown): ApiError {
  return new ApiError('unauthorized', { message: `Invalid token: ${reason}`, tokenRejection, cause });
}

/** The reasons of claims that have their own; a missing audience or issuer counts as a wrong one. */
const REJECTION_BY_CLAIM: Readonly<Record<string, TokenRejection>> = {
  aud: 'audience',
  iss: 'issuer',
  nbf: 'not_yet_valid',
};

/** Converts a jose error to an {@link ApiError}. Its message contains no text from the token. */
export function toTokenError(error: unknown): ApiError {
  if (error instanceof errors.JWTExpired) return claimError('expired', 'Token has expired');
  if (error instanceof errors.JWTClaimValidationFailed) {
    const isMissing = error.reason === 'missing';
    const claim = ['aud', 'iss', 'exp', 'nbf', 'iat'].find((name) => name === error.claim) ?? 'a claim';
    const rejection = REJECTION_BY_CLAIM[claim] ?? 'claims';
    return claimError(rejection, `Invalid token: "${claim}" ${isMissing ? 'is missing' : 'is not accepted'}`, error);
  }
  // jose parses the claims only after the signature has been verified
  if (error instanceof errors.JWTInvalid) return claimError('claims', 'Invalid token: its claims are malformed', error);
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return invalidTokenError('algorithm', 'its algorithm is not accepted', error);
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return invalidTokenError('signature', 'signature verification failed', error);
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return invalidTokenError('unknown_key', 'it is signed with an unknown key', error);
  }
  if (error instanceof errors.JOSEError) return invalidTokenError('malformed', 'it is malformed', error);
  // errors of WebCrypto: the key set contains an unusable key
  return invalidTokenError('unusable_key', 'the key to verify it cannot be used', error);
}
