import { useMemo, useState } from 'preact/hooks';
import { zoneOf } from '../calendar.ts';
import { Popover } from '../controls/popover.tsx';
import { comparisonText, rangeText } from '../controls/range-text.ts';
import { Link } from '../links.tsx';
import { useNavigation } from '../navigation.ts';
import { QueryResult } from '../states.tsx';
import { rangeNamed } from '../time.ts';
import { type QueryState, useQuery } from '../use-query.ts';
import { addressOf, Drawn } from './drawn.tsx';
import type { BoardChart, DrawnChart } from './requests.ts';

interface BoardCardProps {
  readonly chart: BoardChart;
  readonly query: QueryState<DrawnChart>;
  /** Undefined if the board cannot be changed. */
  readonly edit: CardEdit | undefined;
}

/** The changes of a chart on its board. */
export interface CardEdit {
  readonly isFirst: boolean;
  readonly isLast: boolean;
  readonly isBusy: boolean;
  /** Moves the chart by a number of places. */
  readonly move: (by: -1 | 1) => void;
  readonly rename: (title: string) => void;
  readonly remove: () => void;
  readonly onDragStart: (event: DragEvent) => void;
  readonly onDragEnd: () => void;
}

const STEPS: Readonly<Record<string, -1 | 1>> = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/** A chart of a board, with its title, which opens the view it was pinned from. */
export function BoardCard({ chart, query, edit }: BoardCardProps) {
  const { go } = useNavigation();
  const { parameters } = chart.query;
  const tz = String(parameters['tz'] ?? 'UTC');
  const address = useMemo(() => addressOf({ view: chart.view, tz }), [chart.view, tz]);
  // paused: the offsets of a zone do not depend on the current time
  const rules = useQuery('/api/zone', { tz }, tz, true);
  const zone = useMemo(() => rules.value && zoneOf(rules.value), [rules.value]);
  return (
    <>
      <div class="card-head">
        {edit && (
          <button
            type="button"
            class="icon grip"
            draggable
            aria-label={`Move ${chart.title}`}
            title="Drag to reorder, or use the arrow keys"
            aria-keyshortcuts="ArrowLeft ArrowRight"
            onDragStart={edit.onDragStart}
            onDragEnd={edit.onDragEnd}
            onKeyDown={(event) => {
              const step = STEPS[event.key];
              if (step === undefined) return;
              event.preventDefault();
              edit.move(step);
            }}
          >
            <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
              <path d="M6 4h.01M10 4h.01M6 8h.01M10 8h.01M6 12h.01M10 12h.01" />
            </svg>
          </button>
        )}
        <h2>
          <Link to={address}>{chart.title}</Link>
        </h2>
        <RangeLabel chart={chart} query={query} />
        {edit && <CardMenu title={chart.title} edit={edit} />}
      </div>
      <QueryResult query={query}>
        {(drawn) => zone && <Drawn chart={drawn} zone={zone} onZoom={(change) => go({ ...address, ...change })} />}
      </QueryResult>
    </>
  );
}

/** The range of a chart in words, and what it is compared with. */
function RangeLabel({ chart, query }: { chart: BoardChart; query: QueryState<DrawnChart> }) {
  const text = rangeLabel(addressOf({ view: chart.view, tz: 'UTC' }).range, query.value);
  const { compare } = chart.query;
  return (
    <small class="quiet">
      {text}
      {compare && ` ${comparisonText(compare)}`}
    </small>
  );
}

/** Returns the label of a named range, otherwise its dates. */
export function rangeLabel(name: string, drawn: DrawnChart | undefined): string {
  const named = rangeNamed(name);
  if (named) return named.label;
  if (name === 'all') return 'All time';
  if (!drawn?.from || !drawn.to) return '';
  const range = { from: new Date(drawn.from), to: new Date(drawn.to) };
  return rangeText(range, { name: 'UTC', starts: [Number.NEGATIVE_INFINITY], offsets: [0] }, range.to);
}

function CardMenu({ title, edit }: { title: string; edit: CardEdit }) {
  return (
    <Popover
      name={`Edit ${title}`}
      align="end"
      buttonClass="icon"
      button={
        <>
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" class="dots">
            <path d="M3.5 8h.01M8 8h.01M12.5 8h.01" />
          </svg>
          <span class="visually-hidden">Edit {title}</span>
        </>
      }
    >
      {(close) => <CardPanel title={title} edit={edit} close={close} />}
    </Popover>
  );
}

function CardPanel({ title, edit, close }: { title: string; edit: CardEdit; close: () => void }) {
  const [draft, setDraft] = useState(title);
  const closing = (action: () => void) => () => {
    close();
    action();
  };
  return (
    <form
      class="menu"
      onSubmit={(event) => {
        event.preventDefault();
        if (draft.trim() !== '' && draft.trim() !== title) edit.rename(draft.trim());
        close();
      }}
    >
      <label>
        Title
        <span class="row">
          <input data-first value={draft} maxLength={200} onInput={(event) => setDraft(event.currentTarget.value)} />
          <button type="submit" disabled={draft.trim() === '' || edit.isBusy}>
            Rename
          </button>
        </span>
      </label>
      <button type="button" disabled={edit.isFirst || edit.isBusy} onClick={closing(() => edit.move(-1))}>
        Move earlier
      </button>
      <button type="button" disabled={edit.isLast || edit.isBusy} onClick={closing(() => edit.move(1))}>
        Move later
      </button>
      <button type="button" class="danger" disabled={edit.isBusy} onClick={closing(edit.remove)}>
        Remove from board
      </button>
    </form>
  );
}
