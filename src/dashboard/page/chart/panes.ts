import { formatCount } from '../format.ts';
import { formatFigure, tickFormatter } from '../unit-format.ts';
import type { Unit } from '../units.ts';
import type { Line } from './line.ts';
import { type ValueAxis, valueAxis } from './value-axis.ts';

/** A tick of a value axis: its height in the plot, from 0 (bottom) to 1 (top), and its label. */
export interface ValueTick {
  readonly at: number;
  readonly label: string;
}

/** Lines laid out in the panes of a plot. */
export interface Layout {
  /** The heights of each line's values, from 0 (bottom) to 1 (top). */
  readonly heights: readonly (readonly (number | null)[])[];
  /** The height at which the bars and fill of each line begin. */
  readonly bases: readonly number[];
  /** Whether a fill down to its base is honest for each line: only if the base is zero. */
  readonly canFill: readonly boolean[];
  readonly ticks: readonly ValueTick[];
  /** Sentences about what the axes do not show. */
  readonly notes: readonly string[];
  /** The number of panes. */
  readonly panes: number;
}

export interface LayoutOptions {
  readonly lines: readonly Line[];
  /** Whether each line is shown; hidden lines do not affect the axes. */
  readonly isShown: readonly boolean[];
  readonly unit: Unit;
  readonly isZeroBased: boolean;
  readonly isLogarithmic: boolean;
  readonly isCapped: boolean;
}

/**
 * Where panes are, from 0 (bottom) to 1 (top), by their number. Lines in a lower pane have an axis of their own, so that
 * no larger line flattens them.
 */
const SPANS: readonly (readonly (readonly [low: number, high: number])[])[] = [
  [[0, 1]],
  [
    [0.4, 1],
    [0, 0.28],
  ],
  [
    [0.52, 1],
    [0.27, 0.43],
    [0, 0.16],
  ],
];

/** Lays lines out in panes, which share the time axis. */
export function layOut(options: LayoutOptions): Layout {
  const { lines, isShown, unit } = options;
  const numbers = [...new Set(lines.filter((_line, i) => isShown[i]).map(({ pane = 0 }) => pane))].sort();
  const panes = new Map(
    numbers.map((number, i) => {
      const members = lines.filter(({ pane = 0 }, at) => pane === number && isShown[at]);
      const paneUnit = members.find((line) => line.unit)?.unit ?? unit;
      const values = members.flatMap((line) => line.values.filter((value) => value !== null));
      const isZeroBased = options.isZeroBased || members.some(({ shape }) => shape === 'bars');
      const axis = valueAxis(values, { ...options, unit: paneUnit, isZeroBased });
      const hasLines = members.some(({ shape }) => shape !== 'bars');
      return [number, { axis, unit: paneUnit, hasLines, span: SPANS[numbers.length - 1]?.[i] ?? [0, 1] }] as const;
    }),
  );
  const shown = [...panes.values()];
  return {
    heights: lines.map(({ pane = 0, values }) => {
      const own = panes.get(pane);
      return values.map((value) => (value === null || !own ? null : heightIn(own.span, own.axis.placeOf(value))));
    }),
    bases: lines.map(({ pane = 0 }) => {
      const own = panes.get(pane);
      return (own && heightIn(own.span, own.axis.base)) ?? 0;
    }),
    canFill: lines.map(({ pane = 0 }) => panes.get(pane)?.axis.startsAt === undefined && !options.isLogarithmic),
    ticks: shown.flatMap(({ axis, unit: paneUnit, span }) => {
      // half as many in a small pane
      const ticks = span[1] - span[0] < 0.3 ? axis.ticks.filter((_tick, i) => i % 2 === 0) : axis.ticks;
      const format = tickFormatter(ticks, paneUnit);
      return ticks.map((tick) => ({ at: heightIn(span, axis.placeOf(tick)) ?? 0, label: format(tick) }));
    }),
    notes: shown.flatMap(({ axis, unit: paneUnit, hasLines }) => notesOn(axis, paneUnit, hasLines, options)),
    panes: numbers.length,
  };
}

function heightIn([low, high]: readonly [number, number], place: number | null): number | null {
  return place === null ? null : low + place * (high - low);
}

function notesOn(axis: ValueAxis, unit: Unit, hasLines: boolean, { isLogarithmic, isCapped }: LayoutOptions): string[] {
  const notes: string[] = [];
  if (axis.startsAt !== undefined) notes.push(`The axis starts at ${formatFigure(axis.startsAt, unit)}, not at zero.`);
  if (isLogarithmic) notes.push('Logarithmic axis.');
  // a missing bar says zero, a missing point of a line does not
  if (axis.unplaced > 0 && hasLines) {
    notes.push(`${valuesText(axis.unplaced)} of zero or less cannot be shown on it.`);
  }
  if (axis.cap !== undefined) {
    notes.push(`${valuesText(axis.above)} above ${formatFigure(axis.cap, unit)} cut off at the top.`);
  } else if (isCapped) notes.push('No outliers to cut off.');
  return notes;
}

function valuesText(count: number): string {
  return `${formatCount(count)} ${count === 1 ? 'value' : 'values'}`;
}
