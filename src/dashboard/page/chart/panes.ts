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
  readonly hasLowerPane: boolean;
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

/** The heights of the panes. Lines in the lower pane have an axis of their own, so that no larger line flattens them. */
const WHOLE = [0, 1] as const;
const UPPER = [0.4, 1] as const;
const LOWER = [0, 0.28] as const;

/** Lays lines out in one pane, or in two if some belong to the lower one. Both panes share the time axis. */
export function layOut(options: LayoutOptions): Layout {
  const { lines, isShown, unit } = options;
  const isLower = lines.map(({ pane }) => pane === 'lower');
  const hasLowerPane = isLower.includes(true) && isLower.some((lower, i) => lower && isShown[i]);
  const hasUpperPane = isLower.some((lower, i) => !lower && isShown[i]);
  const hasTwo = hasLowerPane && hasUpperPane;
  const panes = [false, true].map((lower) => {
    const members = lines.filter((_line, i) => isLower[i] === lower && isShown[i]);
    const paneUnit = members.find((line) => line.unit)?.unit ?? unit;
    const values = members.flatMap((line) => line.values.filter((value) => value !== null));
    const isZeroBased = options.isZeroBased || lower || members.some(({ shape }) => shape === 'bars');
    return {
      axis: valueAxis(values, { ...options, unit: paneUnit, isZeroBased }),
      unit: paneUnit,
      isEmpty: members.length === 0,
      hasLines: members.some(({ shape }) => shape !== 'bars'),
      span: hasTwo ? (lower ? LOWER : UPPER) : WHOLE,
    };
  });
  const paneOf = (i: number) => panes[isLower[i] ? 1 : 0] as (typeof panes)[number]; // there are two
  const shown = panes.filter(({ isEmpty }) => !isEmpty);
  return {
    heights: lines.map((line, i) => {
      const { axis, span } = paneOf(i);
      return line.values.map((value) => (value === null ? null : heightIn(span, axis.placeOf(value))));
    }),
    bases: lines.map((_line, i) => heightIn(paneOf(i).span, paneOf(i).axis.base) ?? 0),
    canFill: lines.map((_line, i) => paneOf(i).axis.startsAt === undefined && !options.isLogarithmic),
    ticks: shown.flatMap(({ axis, unit: paneUnit, span }) => {
      const format = tickFormatter(axis.ticks, paneUnit);
      return axis.ticks.map((tick) => ({ at: heightIn(span, axis.placeOf(tick)) ?? 0, label: format(tick) }));
    }),
    notes: shown.flatMap(({ axis, unit: paneUnit, hasLines }) => notesOn(axis, paneUnit, hasLines, options)),
    hasLowerPane: hasTwo,
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
