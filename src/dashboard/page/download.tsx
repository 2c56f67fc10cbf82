import { useContext, useEffect, useRef, useState } from 'preact/hooks';
import { type QueryParameters, queryUrl, type RequestError, request, toRequestError } from './api.ts';
import { formatBytes } from './format.ts';
import { QuerySessionContext } from './use-query.ts';

interface DownloadProps {
  readonly path: string;
  readonly query: QueryParameters;
  /** The file name without `.csv`. */
  readonly name: string;
}

/** Saves an export as a file. Uses fetch because a plain link cannot send the Authorization header. */
export function Download({ path, query, name }: DownloadProps) {
  const { token, onUnauthorized } = useContext(QuerySessionContext);
  const [bytes, setBytes] = useState<number>();
  const [error, setError] = useState<RequestError>();
  const abort = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => abort.current?.abort(), []);

  const download = async () => {
    const controller = new AbortController();
    abort.current = controller;
    setError(undefined);
    setBytes(0);
    try {
      const { body } = await request(queryUrl(path, query), token, controller.signal);
      const parts: Uint8Array<ArrayBuffer>[] = [];
      let received = 0;
      for await (const part of body ?? []) {
        parts.push(part);
        received += part.length;
        setBytes(received);
      }
      // without a byte order mark, Excel does not read the file as UTF-8; the API omits it for other programs
      save(new Blob(['\ufeff', ...parts], { type: 'text/csv' }), `${name}.csv`);
    } catch (thrown) {
      if (controller.signal.aborted) return;
      // a truncated response is not saved
      const requestError = toRequestError(thrown);
      if (requestError.status === 401) onUnauthorized(requestError.message);
      setError(requestError);
    } finally {
      setBytes(undefined);
    }
  };
  return (
    <span class="download">
      {bytes === undefined ? (
        <button type="button" onClick={() => void download()}>
          Download CSV
        </button>
      ) : (
        <button type="button" onClick={() => abort.current?.abort()}>
          Cancel download ({formatBytes(bytes)})
        </button>
      )}
      {error && (
        <span role="alert">
          {error.message}. {error.hint}
        </span>
      )}
    </span>
  );
}

function save(file: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
