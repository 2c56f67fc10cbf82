import { useState } from 'preact/hooks';
import type { Responses } from '../api.ts';
import { useZone } from '../calendar.ts';
import { Figure } from '../figures.tsx';
import { formatCount, formatTime } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { EmptyMessage, QueryResult } from '../states.tsx';
import { type QueryState, useQuery } from '../use-query.ts';

type Status = Responses['/api/status'];

/** The ledger of all items, or for users who may not see it, their own rejections. */
export function Ledger({ status }: { status: QueryState<Status> }) {
  const isHidden = status.value !== undefined && status.value.ledger === undefined;
  return (
    <section class="panel" aria-labelledby="ledger">
      <h2 id="ledger">{isHidden ? 'Rejected items' : 'Ledger'}</h2>
      <QueryResult query={status}>{({ ledger }) => (ledger ? <Counts ledger={ledger} /> : <Reasons />)}</QueryResult>
    </section>
  );
}

/** The counts of received, stored, duplicate and rejected items, with rejections by error code. */
function Counts({ ledger }: { ledger: NonNullable<Status['ledger']> }) {
  const rejected = Object.entries(ledger.rejected).sort(([, a], [, b]) => b - a);
  const total = rejected.reduce((sum, [, count]) => sum + count, 0);
  return (
    <>
      <dl class="figures">
        <Figure label="Received" value={ledger.received} format={formatCount} />
        <Figure label="Stored" value={ledger.stored} format={formatCount} />
        <Figure label="Duplicates" value={ledger.duplicates} format={formatCount} />
        <Figure label="Rejected" value={total} format={formatCount} />
      </dl>
      <p class="quiet">All users, since the database was created. Received = stored + duplicates + rejected.</p>
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

/** The latest rejections, newest first; only those with an error code if one is given. */
function Reasons({ code }: { code?: string }) {
  const { address } = useNavigation();
  const zone = useZone();
  const latest = useQuery('/api/rejections', { code, limit: 20, user_id: address.user }, code);
  return (
    <QueryResult query={latest}>
      {({ rejections }) =>
        rejections.length === 0 ? (
          <EmptyMessage>
            No rejections{address.user !== undefined && ' of this user'} since the server started.
          </EmptyMessage>
        ) : (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard
          <section class="scroll tall" tabIndex={0} aria-label={`Latest rejections${code ? ` with ${code}` : ''}`}>
            <ul class="reasons">
              {rejections.map((rejection) => (
                <li key={`${rejection.at} ${rejection.request_id}`}>
                  {rejection.issues.length === 0 ? (
                    <p>{rejection.message}</p>
                  ) : (
                    rejection.issues.map(({ loc, msg }) => (
                      <p key={loc.join('.')}>
                        <code>{loc.join('.')}</code> {msg}
                      </p>
                    ))
                  )}
                  <p class="quiet">
                    {formatTime(new Date(rejection.at), zone, 'second')} · {rejection.user_id ?? 'unknown user'} ·{' '}
                    {rejection.route} · {formatCount(rejection.items)} {rejection.items === 1 ? 'item' : 'items'} ·{' '}
                    {code === undefined && (
                      <>
                        <code>{rejection.code}</code> ·{' '}
                      </>
                    )}
                    request <code>{rejection.request_id}</code>
                  </p>
                </li>
              ))}
            </ul>
          </section>
        )
      }
    </QueryResult>
  );
}
