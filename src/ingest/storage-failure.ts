import { Failure } from '../errors.ts';
import { storageFault } from '../storage/faults.ts';

/** What a caller is told of an error that a database call threw. */
export function failureOfStorage(error: unknown): Failure {
  const fault = storageFault(error);
  if (fault.kind === 'full') return new Failure('storage_full', { cause: fault });
  if (fault.kind === 'bug') return new Failure('internal', { cause: fault });
  return new Failure('storage_unavailable', { cause: fault });
}
