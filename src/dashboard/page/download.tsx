import { useContext, useEffect, useRef, useState } from 'preact/hooks';
import { AskingContext } from './answer.ts';
import { type Failed, failedOf, type Query, questionAddress, request } from './api.ts';
import { formatBytes } from './format.ts';

interface DownloadProps {
  readonly path: string;
  readonly query: Query;
  /** What the file is called, without `.csv`. */
  readonly name: string;
}

/** Saves an export as a file. The token goes in a header, which a link has not, so the page reads it first. */
export function Download({ path, query, name }: DownloadProps) {
  const { token, onUnauthorized } = useContext(AskingContext);
  const [bytes, setBytes] = useState<number>();
  const [failure, setFailure] = useState<Failed>();
  const abort = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => abort.current?.abort(), []);

  const download = async () => {
    const asked = new AbortController();
    abort.current = asked;
    setFailure(undefined);
    setBytes(0);
    try {
      const { body } = await request(questionAddress(path, query), token, asked.signal);
      const parts: Uint8Array<ArrayBuffer>[] = [];
      let received = 0;
      for await (const part of body ?? []) {
        parts.push(part);
        received += part.length;
        setBytes(received);
      }
      // Excel takes a file without this mark for one in its own encoding; programs read the API's, which has none
      save(new Blob(['\ufeff', ...parts], { type: 'text/csv' }), `${name}.csv`);
    } catch (error) {
      if (asked.signal.aborted) return;
      // an answer that breaks off is not a file
      const failed = failedOf(error);
      if (failed.status === 401) onUnauthorized(failed.message);
      setFailure(failed);
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
          {formatBytes(bytes)} so far: cancel
        </button>
      )}
      {failure && (
        <span role="alert">
          {failure.message}. {failure.hint}
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
