import type { RequestError } from '../api.ts';

/** Why a change was not made. */
export function ChangeError({ error }: { error: RequestError | undefined }) {
  if (!error) return null;
  return (
    <p class="change-error" role="alert">
      {error.message}. {error.hint}
    </p>
  );
}
