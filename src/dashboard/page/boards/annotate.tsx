import { useState } from 'preact/hooks';
import { useZone } from '../calendar.ts';
import { serverNow } from '../clock.ts';
import { Popover } from '../controls/popover.tsx';
import { LOCALE } from '../controls/range-text.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { momentsOfWall, wallTime } from '../time.ts';
import { useAnnotations } from './annotations.ts';
import { ChangeError } from './change-error.tsx';
import { usePermissions } from './permissions.ts';
import { sendChange, useChange } from './requests.ts';

/** The views whose charts show annotations. */
const ANNOTATED = ['overview', 'metric', 'event'];

/** A button that lists the annotations in the shown range, and with which admins add some. */
export function AnnotateButton() {
  const { address } = useNavigation();
  const { canSeeAllUsers, canHaveBoards } = usePermissions();
  if (!canSeeAllUsers || !canHaveBoards || !ANNOTATED.includes(address.view)) return null;
  return (
    <Popover
      name="Annotations"
      align="end"
      buttonClass="button annotate-button"
      title="Mark events such as a deployment on the charts"
      button={
        <>
          <svg class="stroke-icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d="M4 14V2.5M4 3h8l-2 2.75L12 8.5H4" />
          </svg>
          <span class="visually-hidden">Annotations</span>
        </>
      }
    >
      {() => <AnnotationsPanel />}
    </Popover>
  );
}

function AnnotationsPanel() {
  const zone = useZone();
  const { isAdmin } = usePermissions();
  const range = useShownRange();
  const annotations = useAnnotations(range);
  const [text, setText] = useState('');
  const [time, setTime] = useState(() => wallTime(serverNow(), zone));
  const [url, setUrl] = useState('');
  const { isBusy, error, run } = useChange();
  const [at] = momentsOfWall(time, zone);
  const add = () =>
    run(async (token) => {
      const body = { text: text.trim(), timestamp: at?.toISOString(), ...(url.trim() !== '' && { url: url.trim() }) };
      await sendChange('POST /api/annotations', '/api/annotations', token, body);
      setText('');
      setUrl('');
    });
  const format = new Intl.DateTimeFormat(LOCALE, {
    ...{ timeZone: zone.name, day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  });
  return (
    <form
      class="menu annotations"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() !== '' && at) void add();
      }}
    >
      {annotations.length === 0 && <p class="quiet">No annotations in this range.</p>}
      {annotations.length > 0 && (
        <ul class="links">
          {annotations.toReversed().map((annotation) => (
            <li key={annotation.id}>
              <span>
                {annotation.url ? (
                  <a href={annotation.url} target="_blank" rel="noreferrer noopener">
                    {annotation.text}
                  </a>
                ) : (
                  annotation.text
                )}
                <small class="quiet">{format.format(new Date(annotation.timestamp))}</small>
              </span>
              {isAdmin && (
                <button
                  type="button"
                  class="icon"
                  aria-label={`Delete ${annotation.text}`}
                  disabled={isBusy}
                  onClick={() => void run((token) => sendChange('DELETE', `/api/annotations/${annotation.id}`, token))}
                >
                  ×
                </button>
              )}
            </li>
          ))}
        </ul>
      )}
      {isAdmin && (
        <>
          <label>
            What happened
            <input
              data-first
              value={text}
              maxLength={500}
              placeholder="deploy 2.4.0"
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
          <label>
            When
            <input type="datetime-local" value={time} onInput={(event) => setTime(event.currentTarget.value)} />
          </label>
          <label>
            Link (optional)
            <input
              type="url"
              value={url}
              maxLength={2048}
              placeholder="https://"
              onInput={(event) => setUrl(event.currentTarget.value)}
            />
          </label>
          <button type="submit" class="primary" disabled={isBusy || text.trim() === '' || at === undefined}>
            Add
          </button>
          <ChangeError error={error} />
        </>
      )}
    </form>
  );
}
