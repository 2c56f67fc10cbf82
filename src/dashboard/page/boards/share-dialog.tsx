import { useRef, useState } from 'preact/hooks';
import { LOCALE } from '../controls/range-text.ts';
import { CopyField } from '../copy-field.tsx';
import { ChangeError } from './change-error.tsx';
import { usePermissions } from './permissions.ts';
import { type Board, type CreatedLink, sendChange, useBoardQuery, useChange } from './requests.ts';

/** How long a link works: the value in the request, and its label. */
const EXPIRIES = [
  { value: '1d', label: '1 day' },
  { value: '7d', label: '7 days' },
  { value: '30d', label: '30 days' },
  { value: '90d', label: '90 days' },
  { value: '365d', label: '1 year' },
];

/** A button that opens the dialog with the shared links of a board. */
export function ShareButton({ board }: { board: Board }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        onClick={() => {
          setOpen(true);
          dialog.current?.showModal();
        }}
      >
        Share
      </button>
      <dialog
        ref={dialog}
        class="share-dialog"
        aria-labelledby="share-title"
        closedby="any"
        onClose={() => setOpen(false)}
      >
        <div class="dialog-head">
          <h2 id="share-title">Share “{board.name}”</h2>
          <button type="button" class="icon" aria-label="Close" onClick={() => dialog.current?.close()}>
            ×
          </button>
        </div>
        {isOpen && <ShareContent board={board} />}
      </dialog>
    </>
  );
}

function ShareContent({ board }: { board: Board }) {
  const { canSeeAllUsers } = usePermissions();
  const [expires, setExpires] = useState('30d');
  const [created, setCreated] = useState<CreatedLink>();
  const links = useBoardQuery('links', '/api/links', { board_id: board.id });
  const { isBusy, error, run } = useChange();
  const create = () =>
    run(async (token) => {
      setCreated(await sendChange('POST link', `/api/boards/${board.id}/links`, token, { expires }));
    });
  const revoke = (id: string) =>
    run(async (token) => {
      await sendChange('DELETE', `/api/links/${id}`, token);
      setCreated((link) => (link?.id === id ? undefined : link));
    });
  return (
    <>
      <p>
        Anyone with the link can see this board without an account: its charts, with{' '}
        {canSeeAllUsers ? 'the data of all users' : 'your own data'}, and nothing else.
      </p>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <label>
          Expires after{' '}
          <select value={expires} onChange={(event) => setExpires(event.currentTarget.value)}>
            {EXPIRIES.map(({ value, label }) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary" disabled={isBusy}>
          Create link
        </button>
      </form>
      <ChangeError error={error} />
      {created && (
        <div class="created-link">
          <CopyField label="Link" text={location.origin + created.path} />
          <p class="quiet">Copy it now: it is not shown again.</p>
          <details>
            <summary>Embed in another page</summary>
            <CopyField
              label="HTML"
              text={`<iframe src="${location.origin}/embed#${created.value}" title="${board.name.replaceAll(/["&<>]/g, '')}" width="100%" height="600"></iframe>`}
            />
            <p class="quiet">The server must allow the page's origin in EMBED_ORIGINS.</p>
          </details>
        </div>
      )}
      {(links.value?.links.length ?? 0) > 0 && (
        <>
          <h3>Active links</h3>
          <ul class="links">
            {links.value?.links.map(({ id, created_at, expires_at, rows, user_id }) => (
              <li key={id}>
                <span>
                  Created {dateText(created_at)} by <span class="id">{user_id}</span>
                  <small class="quiet">
                    {rows === 'all' ? 'Data of all users' : 'Their own data'}, expires {dateText(expires_at)}
                  </small>
                </span>
                <button type="button" disabled={isBusy} onClick={() => void revoke(id)}>
                  Revoke
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

/** Formats a date in the reader's format. */
export function dateText(time: string): string {
  return new Intl.DateTimeFormat(LOCALE, { day: 'numeric', month: 'short', year: 'numeric' }).format(new Date(time));
}
