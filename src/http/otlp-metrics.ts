import { ApiError, type ErrorCode, type ValidationIssue } from '../errors.ts';
import { attributesText, microsecondsOf, numberOf } from '../formats/otlp-value.ts';
import { formatTimestamp } from '../formats/timestamp.ts';
import { batchMetricCheck, type Metric } from '../records.ts';
import { CUMULATIVE, DELTA, type ExportRequest, exportRequestCheck } from './otlp-metrics-schema.ts';
import type { RejectedItems } from './recording-handler.ts';
import { batchSizeIssues, MAX_ISSUES, validate } from './validation.ts';

/*
 * Metrics of OpenTelemetry, in the JSON format of OTLP (https://opentelemetry.io/docs/specs/otlp/). A data point of a
 * gauge or a sum is one metric. All other data points are rejected one by one, as a partial success.
 */

/** Kinds of metrics whose data points are not single values, and why they are rejected. */
const UNSUPPORTED = {
  histogram: 'histograms are not supported, because a metric is a single value',
  exponentialHistogram: 'exponential histograms are not supported, because a metric is a single value',
  summary: 'summaries are not supported, because a metric is a single value',
} as const;
const UNSUPPORTED_KINDS = Object.keys(UNSUPPORTED) as (keyof typeof UNSUPPORTED)[];

/** The fields of a data point from which those of a metric are made. */
const SOURCE_FIELDS: Readonly<Record<string, string>> = {
  metric_name: 'name',
  data_string: 'attributes',
  timestamp: 'timeUnixNano',
};

type Loc = ValidationIssue['loc'];
type OtlpMetric = NonNullable<
  NonNullable<NonNullable<ExportRequest['resourceMetrics']>[number]['scopeMetrics']>[number]['metrics']
>[number];
type Sum = NonNullable<OtlpMetric['sum']>;
type NumberDataPoint = NonNullable<Sum['dataPoints']>[number];

/** A data point that can be stored. */
export interface DataPoint {
  readonly metric: Metric;
  readonly loc: Loc;
}

/** A data point that is not stored. */
export interface RejectedPoint {
  readonly code: ErrorCode;
  readonly issue: ValidationIssue;
}

/** The data points of a request. */
export interface OtlpMetrics {
  readonly points: readonly DataPoint[];
  readonly rejected: readonly RejectedPoint[];
  /** The number of exemplars, which are not stored. */
  readonly exemplars: number;
}

/** Returns the number of data points in the parsed body of a request before validation. */
export function countDataPoints(body: unknown): number {
  let count = 0;
  for (const resource of listIn(body, 'resourceMetrics')) {
    for (const scope of listIn(resource, 'scopeMetrics')) {
      for (const metric of listIn(scope, 'metrics')) {
        for (const kind of ['gauge', 'sum', ...UNSUPPORTED_KINDS]) {
          count += listIn(memberOf(metric, kind), 'dataPoints').length;
        }
      }
    }
  }
  return count;
}

function listIn(value: unknown, name: string): unknown[] {
  const list = memberOf(value, name);
  return Array.isArray(list) ? list : [];
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/**
 * Validates the parsed body of a request, and converts its data points.
 *
 * @param maxItems maximum number of data points, rejected ones included
 * @throws {ApiError} `validation_failed` if the body is not an export request, or has too many data points
 */
export function readOtlpMetrics(body: unknown, maxItems: number): OtlpMetrics {
  const request = validate('body', exportRequestCheck, body);
  const issues = batchSizeIssues(Math.max(1, countDataPoints(body)), maxItems);
  if (issues.length > 0) throw new ApiError('validation_failed', { issues });
  const points: DataPoint[] = [];
  const rejected: RejectedPoint[] = [];
  let exemplars = 0;
  const reject = (issue: ValidationIssue) => void rejected.push({ code: 'validation_failed', issue });

  function read(name: string, numbers: readonly NumberDataPoint[], loc: Loc, unsupported: string | undefined): void {
    for (const [i, number] of numbers.entries()) {
      const pointLoc = [...loc, 'dataPoints', i];
      const metric = unsupported ?? metricOf(name, number);
      const issue = typeof metric === 'string' ? issueOf(pointLoc, metric) : issueIn(metric, pointLoc);
      if (issue) {
        reject(issue);
      } else if (typeof metric !== 'string') {
        points.push({ metric, loc: pointLoc });
        exemplars += number.exemplars?.length ?? 0;
      }
    }
  }

  for (const [metric, loc] of metricsIn(request)) {
    const { name = '', gauge, sum } = metric;
    read(name, gauge?.dataPoints ?? [], [...loc, 'gauge'], undefined);
    read(name, sum?.dataPoints ?? [], [...loc, 'sum'], sum && unsupportedSum(sum));
    for (const kind of UNSUPPORTED_KINDS) {
      metric[kind]?.dataPoints?.forEach((_, i) => {
        reject(issueOf([...loc, kind, 'dataPoints', i], UNSUPPORTED[kind]));
      });
    }
  }
  return { points, rejected, exemplars };
}

function* metricsIn({ resourceMetrics = [] }: ExportRequest): Generator<[OtlpMetric, Loc]> {
  for (const [i, { scopeMetrics = [] }] of resourceMetrics.entries()) {
    for (const [j, { metrics = [] }] of scopeMetrics.entries()) {
      for (const [k, metric] of metrics.entries()) {
        yield [metric, ['body', 'resourceMetrics', i, 'scopeMetrics', j, 'metrics', k]];
      }
    }
  }
}

/** Returns why the data points of a sum cannot be stored; undefined if they can. */
function unsupportedSum({ aggregationTemporality, isMonotonic }: Sum): string | undefined {
  if (aggregationTemporality === DELTA) return undefined;
  if (aggregationTemporality !== CUMULATIVE) return 'the aggregation temporality of the sum is unknown';
  // a cumulative sum that can decrease is a level, such as a queue's length, which every data point measures again
  return isMonotonic
    ? 'cumulative counters are not supported, because their rows cannot be added up; export deltas'
    : undefined;
}

/** Returns a data point as a metric, or why it has no value that can be stored. */
function metricOf(
  name: string,
  { attributes = [], timeUnixNano, asDouble, asInt, flags = 0 }: NumberDataPoint,
): Metric | string {
  if (flags % 2 === 1) return 'the data point has no recorded value'; // bit 0, the only flag
  const value = numberOf(asDouble) ?? numberOf(asInt);
  if (value === undefined) return 'the data point has no value';
  if (!Number.isFinite(value)) return 'the value is not a finite number';
  const label = attributesText(attributes);
  const happenedAt = microsecondsOf(timeUnixNano);
  return {
    metric_name: name,
    metric_value: value,
    ...(label !== '' && { data_string: label }),
    ...(happenedAt !== undefined && { timestamp: formatTimestamp(happenedAt) }),
  };
}

function issueOf(loc: Loc, reason: string): ValidationIssue {
  return { loc, msg: `Value error, ${reason}`, type: 'value_error' };
}

/** Returns the first validation issue of a metric, with the path of the data point that it was made from. */
function issueIn(metric: Metric, pointLoc: Loc): ValidationIssue | undefined {
  if (batchMetricCheck.Check(metric)) return undefined;
  try {
    validate('body', batchMetricCheck, metric);
  } catch (error) {
    const [issue] = error instanceof ApiError ? (error.issues ?? []) : [];
    if (!issue) throw error;
    return atSource(issue, pointLoc);
  }
  return undefined;
}

/** Returns an issue of a metric with the path of the data point that it was made from. */
export function atSource({ loc, msg, type }: ValidationIssue, pointLoc: Loc): ValidationIssue {
  const field = String(loc.at(-1));
  // a data point's metric is three levels up
  if (field === 'metric_name') return { loc: [...pointLoc.slice(0, -3), 'name'], msg, type };
  return { loc: [...pointLoc, SOURCE_FIELDS[field] ?? field], msg, type };
}

/** Returns rejected data points by error code. */
export function rejectedItems(rejected: readonly RejectedPoint[]): RejectedItems[] {
  return Array.from(
    Map.groupBy(rejected, ({ code }) => code),
    ([code, points]) => ({
      code,
      items: points.length,
      issues: points.slice(0, MAX_ISSUES).map(({ issue }) => issue),
    }),
  );
}

/**
 * Returns the response to a request. It contains no names or values, because it is cached.
 *
 * @param exemplars the number of exemplars that were not stored
 */
export function exportResponse(rejected: readonly RejectedPoint[], exemplars: number): string {
  const reasons = Array.from(
    Map.groupBy(rejected, ({ issue }) => issue.msg.replace('Value error, ', '')),
    ([reason, points]) => `${points.length} not stored: ${reason} (first: ${pathOf(points[0]?.issue.loc ?? [])}).`,
  );
  if (exemplars > 0) reasons.push(`Exemplars are not stored (${exemplars} of them).`);
  if (reasons.length === 0) return '{}';
  return JSON.stringify({
    partialSuccess: { rejectedDataPoints: String(rejected.length), errorMessage: reasons.join(' ') },
  });
}

/** Returns a path in the body as text, such as `resourceMetrics[0].scopeMetrics[1]`. */
function pathOf([, first = '', ...rest]: Loc): string {
  return rest.reduce<string>((path, part) => path + (typeof part === 'number' ? `[${part}]` : `.${part}`), `${first}`);
}
