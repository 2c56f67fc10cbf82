import type { Series } from '../storage/columns/column-store.ts';
import type { RowStore } from './row-store.ts';
import { seriesNamed } from './selection.ts';

/** A step of a funnel or of cohort retention: the events of a type, with one label or with any. */
export interface EventStep {
  /** The step as sent. */
  readonly step: string;
  readonly type: string;
  /** The `data_index` of matching events; undefined: any. */
  readonly dataIndex: string | undefined;
}

/** Returns the series of the event types of several steps, each once. A type that was never recorded has none. */
export function seriesOfSteps(store: RowStore, steps: readonly EventStep[]): Series[] {
  const types = new Set(steps.map(({ type }) => type));
  return [...types].flatMap((type) => seriesNamed(store, 'analytics', type));
}

/**
 * Returns the number of the label that a step requires: -1 for any; 0 if no event has it, because label numbers start at 1.
 */
export function labelOfStep(store: RowStore, { type, dataIndex }: EventStep): number {
  if (dataIndex === undefined) return -1;
  const [series] = seriesNamed(store, 'analytics', type);
  return (series && store.label(series, dataIndex)) ?? 0;
}
