import { formatPart } from '../format.ts';
import type { Average } from '../steps/cohorts.ts';

/** Size of the drawing, in units of its view box. */
const WIDTH = 600;
const HEIGHT = 96;
const MARGIN = 4;

interface RetentionCurveProps {
  /** By period after the first; undefined for periods that are not over. */
  readonly averages: readonly (Average | undefined)[];
  /** What the period is called: `week`. */
  readonly unit: string;
}

/** The average as a line from 100% down. The table has the same figures. */
export function RetentionCurve({ averages, unit }: RetentionCurveProps) {
  const known = averages.slice(0, averages.findLastIndex((average) => average !== undefined) + 1);
  if (known.length < 2) return null;
  const parts = [1, ...known.map((average) => (average ? average.returned / average.users : 0))];
  const xOf = (i: number) => MARGIN + (i / (parts.length - 1)) * (WIDTH - 2 * MARGIN);
  const yOf = (part: number) => MARGIN + (1 - part) * (HEIGHT - 2 * MARGIN);
  const points = parts.map((part, i) => `${xOf(i).toFixed(1)},${yOf(part).toFixed(1)}`);
  return (
    <figure class="retention-curve">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <line class="base" x1="0" x2={WIDTH} y1={yOf(0)} y2={yOf(0)} />
        <polygon points={`${xOf(0)},${yOf(0)} ${points.join(' ')} ${xOf(parts.length - 1)},${yOf(0)}`} />
        <polyline points={points.join(' ')} />
      </svg>
      <figcaption>
        <span>100% in the first</span>
        <span>
          {formatPart(parts.at(-1) ?? 0)} after {known.length} {known.length === 1 ? unit : `${unit}s`}
        </span>
      </figcaption>
    </figure>
  );
}
