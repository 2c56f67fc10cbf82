import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { useDragReorder } from '../use-drag-reorder.ts';
import { BoardCard, type CardEdit } from './board-card.tsx';
import { type BoardRange, chartInRange, useBoardRange, useChartInRange } from './board-range.tsx';
import { type Board, type BoardChart, useBoardQuery } from './requests.ts';

interface BoardGridProps {
  readonly board: Board;
  readonly isBusy: boolean;
  /** Stores other charts. Resolves when they are shown. */
  readonly onChange: (charts: readonly BoardChart[]) => Promise<unknown>;
}

/** The charts of a board. Owners reorder them by dragging or with the arrow keys. */
export function BoardGrid({ board, isBusy, onChange }: BoardGridProps) {
  const { charts, can_edit: canEdit } = board;
  const [announced, setAnnounced] = useState('');
  const list = useRef<HTMLUListElement>(null);
  // the chart whose handle gets the focus after the list is rendered again
  const nextFocus = useRef<number | undefined>(undefined);
  useLayoutEffect(() => {
    if (nextFocus.current === undefined || isBusy) return;
    const handle = list.current?.children[nextFocus.current]?.querySelector('.grip');
    nextFocus.current = undefined;
    if (handle instanceof HTMLElement) handle.focus();
  });

  const move = async (from: number, to: number) => {
    const chart = charts[from];
    if (isBusy || chart === undefined || to < 0 || to >= charts.length || from === to) return;
    await onChange(charts.toSpliced(from, 1).toSpliced(to, 0, chart));
    nextFocus.current = to;
    setAnnounced(`${chart.title} is now chart ${to + 1} of ${charts.length}`);
  };
  const range = useBoardRange();
  const drag = useDragReorder((from, to) => void move(from, to));
  return (
    <>
      <p class="visually-hidden" role="status">
        {announced}
      </p>
      <ul class="board-grid" ref={list}>
        {keysOf(charts).map((key, i) => {
          const chart = charts[i] as BoardChart; // as many as keys
          return (
            <li key={key} class={`panel ${drag.classesOf(i)}`} {...drag.itemOf(i)}>
              <StoredCard
                chart={chart}
                path={`/api/boards/${board.id}/charts/${i}`}
                range={range}
                edit={
                  canEdit
                    ? {
                        ...{ isFirst: i === 0, isLast: i === charts.length - 1, isBusy },
                        move: (by) => void move(i, i + by),
                        rename: (title) => void onChange(charts.with(i, { ...chart, title })),
                        remove: () => void onChange(charts.toSpliced(i, 1)),
                        ...drag.handleOf(i, chart.title),
                      }
                    : undefined
                }
              />
            </li>
          );
        })}
      </ul>
    </>
  );
}

interface StoredCardProps {
  readonly chart: BoardChart;
  readonly path: string;
  /** The range of the whole board; undefined: the chart's own. */
  readonly range: BoardRange | undefined;
  readonly edit: CardEdit | undefined;
}

function StoredCard({ chart, path, range, edit }: StoredCardProps) {
  if (range) return <CardInRange chart={chartInRange(chart, range)} range={range} edit={edit} />;
  return <CardAsPinned chart={chart} path={path} edit={edit} />;
}

function CardAsPinned({ chart, path, edit }: Omit<StoredCardProps, 'range'>) {
  // the result of a chart stays when the chart moves
  const query = useBoardQuery('chart', path, {}, false, JSON.stringify(chart.query));
  return <BoardCard chart={chart} query={query} edit={edit} />;
}

type CardInRangeProps = Pick<StoredCardProps, 'chart' | 'edit'> & { readonly range: BoardRange };

function CardInRange({ chart, range, edit }: CardInRangeProps) {
  return <BoardCard chart={chart} query={useChartInRange(chart, range)} edit={edit} />;
}

/** Returns a key per chart that moves with it. The same chart can be there twice. */
function keysOf(charts: readonly BoardChart[]): string[] {
  const counts = new Map<string, number>();
  return charts.map((chart) => {
    const text = JSON.stringify(chart.query);
    const count = (counts.get(text) ?? 0) + 1;
    counts.set(text, count);
    return `${count} ${text}`;
  });
}
