import { ApiError } from '../errors.ts';
import { toStorageError } from '../storage/storage-error.ts';

/** What a caller is told of an error that a database call threw. */
export function toApiError(error: unknown): ApiError {
  const storageError = toStorageError(error);
  if (storageError.kind === 'full') return new ApiError('storage_full', { cause: storageError });
  if (storageError.kind === 'bug') return new ApiError('internal', { cause: storageError });
  return new ApiError('storage_unavailable', { cause: storageError });
}
