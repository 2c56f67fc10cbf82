import type { Responses } from '../api.ts';

type FunnelStep = Responses['/api/analytics/funnel']['steps'][number];

/** A step, with the users lost since the previous one. */
export interface StepFigures extends FunnelStep {
  /** Users of the previous step; undefined for the first step. */
  readonly before: number | undefined;
  /** Users who reached the previous step but not this one; 0 for the first step. */
  readonly lost: number;
  /** Fraction of the users of the previous step who were lost; null if there were none, or for the first step. */
  readonly lostPart: number | null;
}

/** Returns the steps of a funnel with the users lost at each. */
export function withDropOff(steps: readonly FunnelStep[]): StepFigures[] {
  return steps.map((step, i) => {
    const before = steps[i - 1]?.users;
    const lost = before === undefined ? 0 : before - step.users;
    return { ...step, before, lost, lostPart: before ? lost / before : null };
  });
}

/** Returns the index of the step before which most users are lost; -1 if none are. */
export function indexOfBiggestLoss(steps: readonly StepFigures[]): number {
  const most = Math.max(0, ...steps.map(({ lost }) => lost));
  return most === 0 ? -1 : steps.findIndex(({ lost }) => lost === most);
}

const POINTS = new Intl.NumberFormat('en', { maximumFractionDigits: 1, minimumFractionDigits: 1 });

/**
 * Formats the change of a fraction in percentage points, such as `+2.1 points`; undefined if one of them is missing.
 */
export function formatPoints(now: number | null | undefined, before: number | null | undefined): string | undefined {
  if (now == null || before == null) return undefined;
  const points = (now - before) * 100;
  const text = POINTS.format(Math.abs(points));
  const sign = text === '0.0' ? '±' : points < 0 ? '−' : '+';
  return `${sign}${text} ${text === '1.0' ? 'point' : 'points'}`;
}
