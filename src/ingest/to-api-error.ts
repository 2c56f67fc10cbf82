import { ApiError } from '../errors.ts';
import { toStorageError } from '../storage/storage-error.ts';

/** Converts an error of a database call to the error that the caller receives. */
export function toApiError(error: unknown): ApiError {
  const storageError = toStorageError(error);
  if (storageError.kind === 'full') return new ApiError('storage_full', { cause: storageError });
  if (storageError.kind === 'bug') return new ApiError('internal', { cause: storageError });
  return new ApiError('storage_unavailable', { cause: storageError });
}
