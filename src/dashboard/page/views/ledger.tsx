import { useState } from 'preact/hooks';
import { type Answer, useAnswer } from '../answer.ts';
import type { Answers } from '../api.ts';
import { useZone } from '../calendar.ts';
import { Figure } from '../figures.tsx';
import { formatCount, formatTime } from '../format.ts';
import { usePlace } from '../place.ts';
import { Answered, Nothing } from '../states.tsx';

type Status = Answers['/api/status'];

/** The ledger of all items; for those who may not see it, why their own items were rejected. */
export function Ledger({ status }: { status: Answer<Status> }) {
  const isHidden = status.value !== undefined && status.value.ledger === undefined;
  return (
    <section class="panel" aria-labelledby="ledger">
      <h2 id="ledger">{isHidden ? 'Rejected' : 'Ledger'}</h2>
      <Answered answer={status}>{({ ledger }) => (ledger ? <Counts ledger={ledger} /> : <Reasons />)}</Answered>
    </section>
  );
}

/** What became of everything that was received; the reasons of what was rejected are a click away. */
function Counts({ ledger }: { ledger: NonNullable<Status['ledger']> }) {
  const rejected = Object.entries(ledger.rejected).sort(([, a], [, b]) => b - a);
  const sum = rejected.reduce((all, [, count]) => all + count, 0);
  return (
    <>
      <dl class="figures">
        <Figure label="Received" value={ledger.received} format={formatCount} />
        <Figure label="Stored" value={ledger.stored} format={formatCount} />
        <Figure label="Duplicates" value={ledger.duplicates} format={formatCount} />
        <Figure label="Rejected" value={sum} format={formatCount} />
      </dl>
      <p class="quiet">Of all users, since the database was made. Received is always the sum of the other three.</p>
      {rejected.map(([code, count]) => (
        <Rejected key={code} code={code} count={count} />
      ))}
    </>
  );
}

function Rejected({ code, count }: { code: string; count: number }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="rejected" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <code>{code}</code> <data value={String(count)}>{formatCount(count)}</data> <span class="quiet">why?</span>
      </summary>
      {isOpen && <Reasons code={code} />}
    </details>
  );
}

/** Why items were rejected, the last ones first: those with one error code, or with any. */
function Reasons({ code }: { code?: string }) {
  const { address } = usePlace();
  const zone = useZone();
  const answer = useAnswer('/api/rejections', { code, limit: 20, user_id: address.user }, code);
  return (
    <Answered answer={answer}>
      {({ rejections }) =>
        rejections.length === 0 ? (
          <Nothing>None that this token may see, since the server was started.</Nothing>
        ) : (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
          <section class="scroll tall" tabIndex={0} aria-label={`Last items rejected${code ? ` with ${code}` : ''}`}>
            <ul class="reasons">
              {rejections.map((one) => (
                <li key={`${one.at} ${one.request_id}`}>
                  {one.issues.length === 0 ? (
                    <p>{one.message}</p>
                  ) : (
                    one.issues.map(({ loc, msg }) => (
                      <p key={loc.join('.')}>
                        <code>{loc.join('.')}</code> {msg}
                      </p>
                    ))
                  )}
                  <p class="quiet">
                    {formatTime(new Date(one.at), zone, 'second')} · {one.user_id ?? 'no known user'} · {one.route} ·{' '}
                    {formatCount(one.items)} {one.items === 1 ? 'item' : 'items'} ·{' '}
                    {code === undefined && (
                      <>
                        <code>{one.code}</code> ·{' '}
                      </>
                    )}
                    request <code>{one.request_id}</code>
                  </p>
                </li>
              ))}
            </ul>
          </section>
        )
      }
    </Answered>
  );
}
