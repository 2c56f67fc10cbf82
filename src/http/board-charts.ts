import { canReadAll, type Principal } from '../auth/verifier.ts';
import type { BoardBody, BoardChart, ChartQuery, ChartQueryName } from '../board-bodies.ts';
import { ApiError, type ValidationIssue } from '../errors.ts';
import { UTC, type Zone } from '../formats/time-zone.ts';
import { formatTimestamp, parseTimestamp } from '../formats/timestamp.ts';
import type { FinishedQuery } from '../query/caller.ts';
import { comparedRange, type ResolvedRange, resolveRange } from '../query/chart-range.ts';
import type { QueryClient } from '../query/client.ts';
import type { IngestLag, Queries } from '../query/engine.ts';
import { zoneNamed } from '../query/zone-database.ts';
import type { BoardScope } from '../storage/board-store.ts';
import type { Metrics } from './metrics.ts';
import { readParameters, valueError } from './parameters.ts';
import {
  COUNTS,
  countsArgument,
  FUNNEL,
  funnelArgument,
  RETENTION,
  retentionArgument,
  SERIES,
  seriesArgument,
} from './query-arguments.ts';
import { cohortConflicts } from './query-parameters.ts';
import type { QueryRequest, SlowQueryLog } from './slow-query-log.ts';
import { MAX_ISSUES } from './validation.ts';

/*
 * The queries of the charts on boards. They pass the same checks as the query routes, when a board is stored and again when
 * a chart is drawn.
 */

/** Maximum length of the parameters of a chart's query, as a query string. */
const MAX_QUERY_LENGTH = 4_096;

/** Whose rows the charts of a board read. */
export interface ChartScope {
  /** The only user whose rows they read; undefined: all users, or the one that a chart filters by. */
  readonly user: string | undefined;
}

/** Who draws a chart: the query engine serves its callers in turn. */
export interface ChartCaller {
  readonly key: string;
  /** Whether the caller may read all rows; false for those that only have a link. */
  readonly canReadAll: boolean;
  readonly signal: AbortSignal;
  /** The request, if it waits for this query. */
  readonly client: QueryRequest | undefined;
}

/** Returns the scope of a caller's charts. */
export function scopeOfCharts(principal: Principal): ChartScope {
  return { user: canReadAll(principal) ? undefined : principal.userId };
}

/** A query that is ready to run. */
type Run =
  | { readonly name: 'series'; readonly argument: Parameters<Queries['series']>[0] }
  | { readonly name: 'counts'; readonly argument: Parameters<Queries['counts']>[0] }
  | { readonly name: 'funnel'; readonly argument: Parameters<Queries['funnel']>[0] }
  | { readonly name: 'retention'; readonly argument: Parameters<Queries['retention']>[0] };

/** Parses the parameters of a query, and returns what runs it in a range and a scope. */
type Parse = (params: URLSearchParams) => {
  readonly tz: string;
  readonly weekStart: 'monday' | 'sunday' | undefined;
  readonly user: string | undefined;
  readonly runOf: (range: ResolvedRange, user: string | undefined) => Run;
};

const PARSERS: Readonly<Record<ChartQueryName, Parse>> = {
  series(params) {
    const query = readParameters(params, SERIES);
    return {
      ...commonOf(query),
      runOf: (range, user) => ({ name: 'series', argument: seriesArgument({ ...query, ...range }, user) }),
    };
  },
  counts(params) {
    const query = readParameters(params, COUNTS);
    return {
      ...commonOf(query),
      runOf: (range, user) => ({ name: 'counts', argument: countsArgument({ ...query, ...range }, user) }),
    };
  },
  funnel(params) {
    // the range follows the calendar of a time zone, which the query itself does not need
    const tz = params.getAll('tz');
    params.delete('tz');
    const query = readParameters(params, FUNNEL);
    funnelArgument(query, undefined); // checks the steps
    const zone = tz.length === 1 && zoneNamed(tz[0] ?? '') ? (tz[0] as string) : 'UTC';
    return {
      ...{ tz: zone, weekStart: undefined, user: query.user_id },
      runOf: (range, user) => ({ name: 'funnel', argument: funnelArgument({ ...query, ...range }, user) }),
    };
  },
  retention(params) {
    const query = readParameters(params, RETENTION, cohortConflicts);
    retentionArgument(query, undefined);
    return {
      ...commonOf(query),
      runOf: (range, user) => ({ name: 'retention', argument: retentionArgument({ ...query, ...range }, user) }),
    };
  },
};

function commonOf(query: {
  readonly tz: string | undefined;
  readonly week_start: 'monday' | 'sunday' | undefined;
  readonly user_id: string | undefined;
}) {
  return { tz: query.tz ?? 'UTC', weekStart: query.week_start, user: query.user_id };
}

function paramsOf({ parameters }: Pick<ChartQuery, 'parameters'>): URLSearchParams {
  return new URLSearchParams(
    Object.entries(parameters).flatMap(([name, values]) => [values].flat().map((value) => [name, value])),
  );
}

/**
 * Checks the queries of a board that is to be stored.
 *
 * @throws {ApiError} `validation_failed` with all issues; `forbidden` for a chart of another user's rows
 */
export function checkCharts({ charts, scope }: Pick<BoardBody, 'charts' | 'scope'>, principal: Principal): void {
  const issues: ValidationIssue[] = [];
  const users: (string | undefined)[] = [];
  for (const [index, chart] of charts.entries()) {
    const loc = ['body', 'charts', index];
    const checked = checkChart(chart, scope);
    issues.push(...checked.issues.map((issue) => ({ ...issue, loc: [...loc, ...issue.loc] })));
    users.push(checked.user);
  }
  if (issues.length > 0) throw new ApiError('validation_failed', { issues: issues.slice(0, MAX_ISSUES) });
  for (const user of users) scopeFor(user, scopeOfCharts(principal));
}

function parse(query: ChartQuery): ReturnType<Parse> {
  return PARSERS[query.name](paramsOf(query));
}

/** Returns what is wrong with a chart, and the user that it filters by. */
function checkChart(
  { query, view }: BoardChart,
  scope: BoardScope,
): { readonly issues: ValidationIssue[]; readonly user: string | undefined } {
  const params = paramsOf(query);
  const loc = ['query', 'parameters'];
  if (String(params).length > MAX_QUERY_LENGTH) {
    const issue = { loc, ...valueError(`the parameters should have at most ${MAX_QUERY_LENGTH} characters`) };
    return { issues: [issue], user: undefined };
  }
  const issues: ValidationIssue[] = [];
  for (const name of ['from', 'to']) {
    if (params.has(name)) issues.push({ loc: [...loc, name], ...valueError('a chart sets its range in "range"') });
  }
  const { range } = query;
  if ('from' in range && (parseTimestamp(range.from) as number) >= (parseTimestamp(range.to) as number)) {
    issues.push({ loc: ['query', 'range', 'to'], ...valueError('the range ends before it starts') });
  }
  const isFiltered = params.has('user_id') || new URLSearchParams(view).has('user');
  if (scope === 'everyone' && isFiltered) {
    issues.push({ loc: [...loc, 'user_id'], ...valueError('a board for everyone cannot filter by user') });
  }
  let user: string | undefined;
  try {
    ({ user } = parse(query));
  } catch (error) {
    if (!(error instanceof ApiError && error.issues)) throw error;
    issues.push(...error.issues.map((issue) => ({ ...issue, loc: [...loc, ...issue.loc.slice(1)] })));
  }
  return { issues, user };
}

/**
 * Returns the user whose rows a chart reads; undefined: all users.
 *
 * @throws {ApiError} `forbidden` if the chart filters by a user outside the scope
 */
function scopeFor(requested: string | undefined, { user }: ChartScope): string | undefined {
  if (user === undefined) return requested;
  if (requested !== undefined && requested !== user) throw new ApiError('forbidden');
  return user;
}

/** Dependencies of the function that draws charts. */
export interface ChartParts {
  readonly engine: Pick<QueryClient, 'run'>;
  readonly metrics: Pick<Metrics, 'query'>;
  readonly slowQueries: SlowQueryLog;
  /** The largest result of a chart, the one that it is compared with included. */
  readonly maxResultBytes: number;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
}

/** The results of a chart's queries, as JSON, and its range in microseconds since 1970. */
export interface DrawnChart extends ResolvedRange {
  readonly result: string;
  /** Undefined without a comparison. */
  readonly compared: string | undefined;
  /** The ingest lag when the queries ran. */
  readonly lag: IngestLag;
}

/** Draws a chart in a scope: runs its queries for its range as of now. */
export type DrawChart = (query: ChartQuery, scope: ChartScope, caller: ChartCaller) => Promise<DrawnChart>;

/** Creates the function that draws charts. */
export function createChartDrawing({ engine, metrics, slowQueries, maxResultBytes, now }: ChartParts): DrawChart {
  async function run({ name, argument }: Run, { key, canReadAll, signal, client }: ChartCaller) {
    const onFinished = (finished: FinishedQuery) => {
      metrics.query(name, finished);
      slowQueries.report({ name, argument, client }, finished);
    };
    const { value, lag } = await engine.run(name, argument, { userId: key, canReadAll, signal, onFinished });
    return { value: value as string, lag };
  }

  return async (query, scope, caller) => {
    const { tz, weekStart, user: requested, runOf } = parse(query);
    const user = scopeFor(requested, scope);
    const zone: Zone = zoneNamed(tz) ?? UTC;
    const range = resolveRange(query.range, now() * 1000, zone, weekStart);
    const compared = comparedRange(query, range, zone);
    const [result, comparedResult] = await Promise.all([
      run(runOf(range, user), caller),
      compared && run(runOf(compared, user), caller),
    ]);
    if (comparedResult) checkSize(result.value, comparedResult.value, maxResultBytes);
    return { ...range, result: result.value, compared: comparedResult?.value, lag: result.lag };
  };
}

/**
 * Checks the size of two results that share a response. The engine has checked each of them.
 *
 * @throws {ApiError} `query_too_large`
 */
function checkSize(result: string, compared: string, maxBytes: number): void {
  if (Buffer.byteLength(result) + Buffer.byteLength(compared) <= maxBytes) return;
  const { msg } = valueError(`the result and the one that it is compared with are larger than ${maxBytes} bytes`);
  throw new ApiError('query_too_large', { issues: [{ loc: ['query'], msg, type: 'query_too_large' }] });
}

/** Returns a resolved range as RFC 3339; null for a bound that the rows determine. */
export function formatRange({ from, to }: ResolvedRange): { from: string | null; to: string | null } {
  const format = (time: number | undefined) => (time === undefined ? null : formatTimestamp(time));
  return { from: format(from), to: format(to) };
}

/** Returns the time zone of a chart's query. */
export function zoneOfChart(query: ChartQuery): string {
  return parse(query).tz;
}
