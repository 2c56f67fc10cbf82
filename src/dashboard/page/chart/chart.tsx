import { useContext, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { AnnotationsContext } from '../boards/annotations.ts';
import { addSpan, moveRange, type Range, useZone, zoomIn, zoomOut } from '../calendar.ts';
import { formatStarts } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { useTheme } from '../theme.ts';
import { clampRange, type IntervalName } from '../time.ts';
import { type Formatter, formatDetail } from '../unit-format.ts';
import { COUNT, type Unit } from '../units.ts';
import { QuerySessionContext } from '../use-query.ts';
import { bucketStartText, bucketText } from './bucket-text.ts';
import { type Buckets, edgesOf, middlesOf } from './buckets.ts';
import { bucketEnd, incompleteBuckets } from './incomplete.ts';
import { Legend } from './legend.tsx';
import type { Annotation, Line } from './line.ts';
import { layOut } from './panes.ts';
import { createPlot, type Plot } from './plot.ts';
import { Table } from './table.tsx';
import { Tooltip, type TooltipRow } from './tooltip.tsx';

interface ChartProps extends Buckets {
  /** Accessible name of the chart. */
  readonly label: string;
  readonly lines: readonly Line[];
  /** Lines that only the table shows. */
  readonly tableLines?: readonly Line[];
  /** Indexes of two lines; the area between them is filled. */
  readonly band?: readonly [upper: number, lower: number] | undefined;
  /** The unit of lines that have none; default: counts. */
  readonly unit?: Unit;
  /** Formats figures in the tooltip and the table; default: according to the unit. */
  readonly format?: Formatter;
  /** Whether the value axis must contain zero; see ValueAxisOptions. Default: true. */
  readonly isZeroBased?: boolean;
  readonly annotations?: readonly Annotation[];
  /** The interval of the buckets; default: that of the shown range. */
  readonly interval?: IntervalName;
}

const NO_LINES: readonly Line[] = [];

/**
 * A time chart. The tooltip shows the figures of the bucket under the pointer, or of the one that the arrow keys move to.
 * Drag to zoom, or press plus and minus. Shift-drag, swipe, scroll sideways, or press Shift with the arrow keys to pan.
 * The same data is available as a table.
 *
 * The address decides whether the value axis is logarithmic or capped.
 */
export function Chart(props: ChartProps) {
  const { label, range, starts, lines, tableLines = NO_LINES, band, isZeroBased = true } = props;
  const shared = useContext(AnnotationsContext);
  const { annotations = shared, format } = props;
  // biome-ignore lint/correctness/useExhaustiveDependencies: units are equal if their parts are
  const unit = useMemo(() => props.unit ?? COUNT, [JSON.stringify(props.unit)]);
  const { address, go } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const shown = useShownRange();
  const zone = useZone();
  const theme = useTheme();
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | undefined>(undefined);
  // a new object whenever the pointer moves, so that the tooltip follows it
  const [pointed, setPointed] = useState<{ index: number }>();
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());

  const interval = props.interval ?? shown.interval;
  const lastEnd = bucketEnd(zone, Date.parse(starts.at(-1) ?? ''), interval);
  const incomplete = incompleteBuckets({ starts, range }, lastEnd, now.getTime());
  // a range that ends now shows its last bucket in full width, so that today is as wide as yesterday
  const end = incomplete.last === 'now' && address.to === undefined ? new Date(lastEnd).toISOString() : range.to;
  const edges = useMemo(() => edgesOf({ starts, range: { from: range.from, to: end } }), [starts, range.from, end]);
  // points are centered in their buckets, like bars
  const middles = useMemo(() => middlesOf(edges), [edges]);
  const labels = useMemo(() => formatStarts(starts, zone), [starts, zone]);
  const { logarithmic: isLogarithmic, capped: isCapped } = address;
  const layout = useMemo(
    () =>
      layOut({
        ...{ lines, unit, isZeroBased, isLogarithmic, isCapped },
        isShown: lines.map((line) => !hidden.has(line.label)),
      }),
    [lines, unit, isZeroBased, isLogarithmic, isCapped, hidden],
  );
  const content = {
    ...{ lines, layout, edges, middles, incomplete },
    isShown: lines.map((line) => !hidden.has(line.label)),
    marks: annotations.map(({ at }) => at.getTime() / 1000),
  };

  const choose = (next: Range) => go({ range: 'custom', ...clampRange(next) });
  const moveTo = (from: Date, to: Date) => {
    const { span } = shown;
    choose({ from, to: span.unit === 'milliseconds' ? to : addSpan(zone, from, span, 1) });
  };
  const latest = useRef({ content, choose, moveTo });
  latest.current = { content, choose, moveTo };

  // a change of any of these requires a new plot
  const structure = JSON.stringify([
    ...[zone.name, theme, band, layout.panes],
    lines.map(({ label, color, shape, pane }) => [label, color, shape, pane]),
  ]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `structure` covers everything but the content, which is read when it is drawn
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const newPlot = createPlot(element, {
      content: () => latest.current.content,
      band,
      zone,
      onPointed: (index) => setPointed(index === null ? undefined : { index }),
      onSelect: (from, to) => latest.current.choose({ from: dateOf(from), to: dateOf(to) }),
      onMoved: (from, to) => latest.current.moveTo(dateOf(from), dateOf(to)),
    });
    plot.current = newPlot;
    return () => {
      newPlot.destroy();
      plot.current = undefined;
    };
  }, [structure]);
  const isFirst = useRef(structure);
  // biome-ignore lint/correctness/useExhaustiveDependencies: these are what the content consists of
  useEffect(() => {
    // a new plot already shows the content
    if (isFirst.current === structure) plot.current?.update();
    isFirst.current = structure;
  }, [layout, middles, annotations, incomplete.first, incomplete.last]);

  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (step !== 0 && event.shiftKey) choose(moveRange(shown, shown.span, zone, step / 4));
    else if (step !== 0) {
      const current = pointed?.index ?? (step > 0 ? -1 : middles.length);
      plot.current?.pointAt(Math.min(middles.length - 1, Math.max(0, current + step)));
    } else if (event.key === '+') choose(zoomIn(shown, shown.span, zone));
    else if (event.key === '-') choose(zoomOut(shown, shown.span, zone));
    else if (event.key === 'Escape' && pointed) plot.current?.pointAt(null);
    else return;
    event.preventDefault();
  };

  const at = pointed !== undefined && pointed.index < middles.length ? pointed.index : undefined;
  const formatOf = (line: Line): Formatter => format ?? ((value) => formatDetail(value, line.unit ?? unit));
  const visible = lines.filter((line) => !hidden.has(line.label));
  const rows = at === undefined ? [] : visible.filter(isCurrent(visible)).map((line) => rowOf(line, at));

  function rowOf(line: Line, index: number): TooltipRow {
    const before = visible.find(({ previousOf }) => previousOf === line.label);
    const start = before?.startsOf?.[index];
    return {
      line,
      value: line.values[index] ?? null,
      format: formatOf(line),
      better: (line.unit ?? unit).better,
      ...(before && {
        previous: {
          value: before.values[index] ?? null,
          text: start && bucketStartText(zone, Date.parse(start)),
        },
      }),
    };
  }

  const noted = annotations.filter(({ at: moment }) => isWithin(edges, at, moment)).map(({ text }) => text);
  const isLast = at === middles.length - 1;
  const warning =
    at === undefined
      ? undefined
      : isLast && incomplete.last === 'now'
        ? 'Incomplete: still in progress'
        : isLast && incomplete.last === 'range'
          ? 'Incomplete: the range ends here'
          : at === 0 && incomplete.first
            ? 'Incomplete: the range begins here'
            : undefined;
  return (
    <figure class="chart">
      <Legend lines={lines} hidden={hidden} onToggle={(labels) => setHidden((names) => toggled(names, labels))} />
      <output class="pointed visually-hidden" aria-live="polite">
        {at !== undefined && [
          labels[at],
          ...rows.map(({ line, value, format: formatValue, previous }) =>
            [`, ${line.label} ${formatValue(value)}`, previous && `, previously ${formatValue(previous.value)}`].join(
              '',
            ),
          ),
          ...[warning, ...noted].map((text) => text && `, ${text}`),
        ]}
      </output>
      <div
        class="plot"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the plot handles the keys listed in its label
        tabIndex={0}
        role="application"
        aria-roledescription="chart"
        aria-label={`${label}. Arrow keys move between points, Shift and arrow keys pan, plus and minus zoom. The same data is in the table below.`}
        onKeyDown={onKeyDown}
        onBlur={() => plot.current?.pointAt(null)}
      >
        <div ref={frame} />
        {at !== undefined && (
          <Tooltip
            title={bucketText(zone, (edges[at] ?? 0) * 1000, (edges[at + 1] ?? 0) * 1000)}
            rows={rows}
            warning={warning}
            annotations={noted}
            placeOf={(size) => plot.current?.placeOf(size, at)}
          />
        )}
      </div>
      {layout.notes.length > 0 && <p class="notes">{layout.notes.join(' ')}</p>}
      <Table
        label={label}
        starts={labels}
        lines={lines}
        others={tableLines}
        unit={unit}
        format={format}
        zone={zone.name}
        edges={edges}
        annotations={annotations}
      />
    </figure>
  );
}

/** Returns whether a tooltip has a row for a line; previous periods are in the row of the line they belong to. */
function isCurrent(visible: readonly Line[]): (line: Line) => boolean {
  return ({ previousOf }) => !visible.some(({ label }) => label === previousOf);
}

/** Returns whether a moment is within a bucket. */
function isWithin(edges: readonly number[], bucket: number | undefined, moment: Date): boolean {
  if (bucket === undefined) return false;
  const seconds = moment.getTime() / 1000;
  return seconds >= (edges[bucket] ?? Number.NaN) && seconds < (edges[bucket + 1] ?? Number.NaN);
}

/** Converts a time of the plot to a date. */
function dateOf(seconds: number): Date {
  return new Date(seconds * 1000);
}

/** Hides lines, or shows them if all are hidden. */
function toggled(hidden: ReadonlySet<string>, labels: readonly string[]): Set<string> {
  const next = new Set(hidden);
  const areHidden = labels.every((label) => hidden.has(label));
  for (const label of labels) areHidden ? next.delete(label) : next.add(label);
  return next;
}
