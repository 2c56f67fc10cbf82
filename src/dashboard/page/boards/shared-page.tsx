import { useEffect, useMemo, useState } from 'preact/hooks';
import { zoneOf } from '../calendar.ts';
import { serverNow } from '../clock.ts';
import { Mark } from '../header.tsx';
import { ErrorBoundary, ErrorMessage, Loading, QueryResult } from '../states.tsx';
import { QuerySessionContext } from '../use-query.ts';
import { rangeLabel } from './board-card.tsx';
import { addressOf, Drawn } from './drawn.tsx';
import { dateText } from './share-dialog.tsx';
import { type SharedBoard, useShared } from './shared-requests.ts';

/** How often a shared board is queried again, in milliseconds; the server caches its charts for as long. */
const REFRESH_MS = 60_000;

interface SharedPageProps {
  /** The value of the shared link. */
  readonly link: string;
  /** Whether the page is inside a frame of another page. */
  readonly isEmbedded: boolean;
}

/** A shared board, read-only and without a session. */
export function SharedPage({ link, isEmbedded }: SharedPageProps) {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) setVersion((count) => count + 1);
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  const board = useShared('board', 0, link, version);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each refresh reads the clock again
  const now = useMemo(serverNow, [version, board.value]);
  const name = board.value?.name;
  useEffect(() => {
    document.title = name === undefined ? 'Shared board · rawlog' : `${name} · rawlog`;
  }, [name]);
  const session = useMemo(
    () => ({ token: '', now, refresh: () => setVersion((count) => count + 1), onUnauthorized() {}, onReachable() {} }),
    [now],
  );
  const content = () => {
    if (board.error?.status === 401) return <Closed />;
    if (!board.value) return board.error ? <ErrorMessage error={board.error} retry={board.retry} /> : <Loading />;
    return <SharedGrid board={board.value} link={link} version={version} />;
  };
  return (
    <QuerySessionContext.Provider value={session}>
      <main class={isEmbedded ? 'shared embedded' : 'shared'} id="content">
        <div class="board-head">
          <h1>{name ?? 'Shared board'}</h1>
          {board.value && !isEmbedded && (
            <small class="quiet">Read-only, until {dateText(board.value.expires_at)}</small>
          )}
          {!isEmbedded && (
            <span class="brand">
              <Mark />
              rawlog
            </span>
          )}
        </div>
        <ErrorBoundary url={link}>{content()}</ErrorBoundary>
      </main>
    </QuerySessionContext.Provider>
  );
}

/** Shown for links that open nothing. */
function Closed() {
  return (
    <section class="panel">
      <h2>This link does not work</h2>
      <p>It has expired, was revoked, or was not copied completely. Ask the person who sent it for a new one.</p>
    </section>
  );
}

function SharedGrid({ board, link, version }: { board: SharedBoard; link: string; version: number }) {
  const zones = useMemo(() => new Map(board.zones.map((rules) => [rules.tz, zoneOf(rules)])), [board.zones]);
  if (board.charts.length === 0) return <p class="no-data">This board has no charts yet.</p>;
  return (
    <ul class="board-grid">
      {board.charts.map((head, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the position is part of the request
        <li class="panel" key={`${i} ${head.view}`}>
          <SharedCard head={head} index={i} zone={zones.get(head.tz)} link={link} version={version} />
        </li>
      ))}
    </ul>
  );
}

interface SharedCardProps {
  readonly head: SharedBoard['charts'][number];
  readonly index: number;
  readonly zone: ReturnType<typeof zoneOf> | undefined;
  readonly link: string;
  readonly version: number;
}

function SharedCard({ head, index, zone, link, version }: SharedCardProps) {
  const query = useShared('chart', index, link, version);
  return (
    <>
      <div class="card-head">
        <h2>{head.title}</h2>
        <small class="quiet">{rangeLabel(addressOf(head).range, query.value)}</small>
      </div>
      <QueryResult query={query}>
        {(drawn) => zone && <Drawn chart={drawn} zone={zone} onZoom={undefined} />}
      </QueryResult>
    </>
  );
}
