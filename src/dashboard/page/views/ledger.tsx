import { useState } from 'preact/hooks';
import { useAnswer } from '../answer.ts';
import type { Answers } from '../api.ts';
import { Figure } from '../figures.tsx';
import { formatCount, formatTime } from '../format.ts';
import { usePlace } from '../place.ts';
import { Answered, Nothing } from '../states.tsx';

type Status = Answers['/api/status'];

/** The ledger of all items. */
export function Ledger() {
  const status = useAnswer('/api/status', {});
  return (
    <section class="panel" aria-labelledby="ledger">
      <h2 id="ledger">Ledger</h2>
      <Answered answer={status}>{({ ledger }) => <Counts ledger={ledger} />}</Answered>
    </section>
  );
}

/** What became of everything that was received; the reasons of what was rejected are a click away. */
function Counts({ ledger }: { ledger: Status['ledger'] }) {
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

/** Why items were rejected, the last ones first. */
function Reasons({ code }: { code: string }) {
  const { address } = usePlace();
  const answer = useAnswer('/api/rejections', { code, limit: 20, user_id: address.user }, code);
  return (
    <Answered answer={answer}>
      {({ rejections }) =>
        rejections.length === 0 ? (
          <Nothing>None that this token may see, since the server was started.</Nothing>
        ) : (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
          <section class="scroll tall" tabIndex={0} aria-label={`Last items rejected with ${code}`}>
            <ul class="reasons">
              {rejections.map((one) => (
                <li key={`${one.at} ${one.request_id}`}>
                  {one.faults.length === 0
                    ? one.message
                    : one.faults.map(({ loc, msg }) => (
                        <div key={loc.join('.')}>
                          <code>{loc.join('.')}</code> {msg}
                        </div>
                      ))}
                  <small class="quiet">
                    {formatTime(new Date(one.at), address.zone, 'second')} · {one.user_id ?? 'no known user'} ·{' '}
                    {one.route} · {formatCount(one.items)} {one.items === 1 ? 'item' : 'items'} · request{' '}
                    <code>{one.request_id}</code>
                  </small>
                </li>
              ))}
            </ul>
          </section>
        )
      }
    </Answered>
  );
}
