import type { Address, View } from '../address.ts';

/** What a view uses, besides the time zone and the refresh interval. */
interface ViewControls {
  readonly hasRange: boolean;
  /** Whether its chart has buckets. */
  readonly hasInterval: boolean;
  /** Whether its chart has an axis of values that can be logarithmic or end below outliers. */
  readonly hasAxis: boolean;
  /** What it can be filtered by. */
  readonly filters: 'none' | 'label' | 'all';
}

const NOTHING: ViewControls = { hasRange: false, hasInterval: false, hasAxis: false, filters: 'none' };

const VIEW_CONTROLS: Record<View, ViewControls> = {
  overview: { ...NOTHING, hasRange: true, hasInterval: true },
  event: { hasRange: true, hasInterval: true, hasAxis: true, filters: 'all' },
  metric: { hasRange: true, hasInterval: true, hasAxis: true, filters: 'label' },
  funnel: { ...NOTHING, hasRange: true, filters: 'all' },
  retention: { ...NOTHING, hasRange: true, filters: 'all' },
  records: { ...NOTHING, hasRange: true, filters: 'all' },
  // each chart of a board has its own range, and the board a picker for all of them
  boards: NOTHING,
  health: { ...NOTHING, hasRange: true, hasInterval: true },
};

/** Returns the controls that the current view uses. */
export function controlsOf({ view, kind }: Address): ViewControls {
  // metrics have no data
  if (view === 'records' && kind === 'metrics') return { ...VIEW_CONTROLS.records, filters: 'label' };
  return VIEW_CONTROLS[view];
}
