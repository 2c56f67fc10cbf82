import type { BoardChart } from '../board-bodies.ts';
import { formatTimestamp } from '../formats/timestamp.ts';
import type { AnnotationStore } from '../storage/annotation-store.ts';
import type { UnitStore } from '../storage/unit-store.ts';
import { type ChartScope, type DrawnChart, formatRange, zoneOfChart } from './board-charts.ts';
import { readStored } from './changes.ts';

/** Maximum number of annotations of a chart. */
const MAX_CHART_ANNOTATIONS = 200;

/** Dependencies of {@link chartJson}. */
export interface DrawnChartParts {
  readonly annotations: Pick<AnnotationStore, 'list'>;
  readonly units: Pick<UnitStore, 'find'>;
}

/** Returns the title of a chart and how it is drawn, without a user ID. */
export function headOf({ title, view, query }: BoardChart) {
  const address = new URLSearchParams(view);
  address.delete('user');
  return { title, view: String(address), query: query.name, tz: zoneOfChart(query) };
}

/** Returns a drawn chart as JSON: its heading, its results, the unit of its metric and the annotations in its range. */
export function chartJson(
  { annotations, units }: DrawnChartParts,
  chart: BoardChart,
  { from, to, result, compared = 'null' }: DrawnChart,
  { user }: ChartScope,
): string {
  const name = chart.query.name === 'series' ? [chart.query.parameters['name']].flat()[0] : undefined;
  const unit = name === undefined ? undefined : readStored(() => units.find(name));
  // annotations are for those who read all rows
  const found = user === undefined ? readStored(() => annotations.list(from, to, MAX_CHART_ANNOTATIONS)) : [];
  const rest = {
    unit: unit ? { unit: unit.unit, better: unit.better } : null,
    annotations: found.map(({ at, text, url }) => ({ timestamp: formatTimestamp(at), text, url })),
  };
  const head = JSON.stringify({ ...headOf(chart), ...formatRange({ from, to }) }).slice(0, -1);
  return `${head},"result":${result},"compared":${compared},${JSON.stringify(rest).slice(1)}`;
}
