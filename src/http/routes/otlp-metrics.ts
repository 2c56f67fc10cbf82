import { Elysia } from 'elysia';
import { ApiError, type ValidationIssue } from '../../errors.ts';
import type { NameUse, UserNames } from '../../ingest/user-names.ts';
import type { MetricRecord } from '../../records.ts';
import type { UserName } from '../../storage/writer.ts';
import { documentRecording } from '../openapi.ts';
import {
  atSource,
  countDataPoints,
  type DataPoint,
  exportResponse,
  type OtlpMetrics,
  type RejectedPoint,
  readOtlpMetrics,
  rejectedItems,
} from '../otlp-metrics.ts';
import { NAME_NOT_ALLOWED, type RecordingParts, recordingHandlers } from '../recording-handler.ts';

/**
 * Creates the route that receives metrics of OpenTelemetry. It stores the data points that it can, and reports all
 * others. A request is stored once, because exporters repeat it unchanged and without a key when they get no response.
 */
export function otlpMetricsRoute(parts: RecordingParts) {
  const { stamper, userNames } = parts;
  const { maxBatchItems, isAllowedName } = parts.limits;

  /** Creates the record of a data point, or says why it is rejected. */
  function stamp(userId: string, { metric, loc }: DataPoint, isAnyAge: boolean): MetricRecord | RejectedPoint {
    const code = 'validation_failed';
    if (isAllowedName && !isAllowedName(metric.metric_name)) {
      return { code, issue: atSource({ loc: ['metric_name'], ...NAME_NOT_ALLOWED }, loc) };
    }
    try {
      return stamper.metric(userId, metric, isAnyAge, loc);
    } catch (error) {
      const [issue] = error instanceof ApiError ? (error.issues ?? []) : [];
      if (!issue) throw error;
      return { code, issue: atSource(issue, loc) };
    }
  }

  const recordOtlpMetrics = recordingHandlers(parts)<OtlpMetrics>({
    path: '/v1/metrics',
    countItems: countDataPoints,
    check: (value) => readOtlpMetrics(value, maxBatchItems),
    sharesOf: (userId, { points }) => [{ userId, names: points.map(nameUse) }],
    // a series has one data point per time
    isUnique: ({ points }) => points.length > 0 && points.every(({ metric }) => metric.timestamp !== undefined),
    prepare({ userId, body, isAnyAge }) {
      const rejected = [...body.rejected];
      const stamped: { point: DataPoint; record: MetricRecord }[] = [];
      for (const point of body.points) {
        const result = stamp(userId, point, isAnyAge);
        if ('issue' in result) rejected.push(result);
        else stamped.push({ point, record: result });
      }
      const { names, excess } = admitSome(
        userNames,
        userId,
        stamped.map(({ point }) => nameUse(point)),
      );
      const records: MetricRecord[] = [];
      for (const { point, record } of stamped) {
        const issue = excess.get(record.metricName);
        if (issue) rejected.push({ code: 'too_many_names', issue: { ...issue, loc: nameUse(point).loc } });
        else records.push(record);
      }
      const response = exportResponse(rejected, body.exemplars);
      return { records, names, response, rejected: rejectedItems(rejected) };
    },
  });

  return new Elysia({ name: 'otlp-metrics' }).post('/v1/metrics', recordOtlpMetrics.onRequest, {
    parse: 'none',
    detail: documentRecording(
      'recordOtlpMetrics',
      'Record metrics of OpenTelemetry',
      `Receives OTLP over HTTP, as JSON. Stores one metric per data point of a gauge, of a delta sum, and of a cumulative sum that is not monotonic. All other data points are rejected and reported as a partial success. A request may contain ${maxBatchItems} data points.`,
      'OtlpMetricsRequest',
      'OtlpMetricsResponse',
      { hasPartialSuccess: true },
    ),
  });
}

function nameUse({ metric, loc }: DataPoint): NameUse {
  const { loc: nameLoc } = atSource({ loc: ['metric_name'], msg: '', type: '' }, loc);
  return { kind: 'metric', name: metric.metric_name, loc: nameLoc };
}

/**
 * Admits as many names as the user's limit allows.
 *
 * @returns the new names, and an issue for each name beyond the limit
 */
function admitSome(
  userNames: UserNames,
  userId: string,
  uses: readonly NameUse[],
): { names: readonly UserName[]; excess: ReadonlyMap<string, ValidationIssue> } {
  try {
    return { names: userNames.admit(userId, uses), excess: new Map() };
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 'too_many_names')) throw error;
    const nameAt = new Map(uses.map(({ loc, name }) => [loc.join(), name]));
    const excess = new Map(error.issues?.map((issue) => [nameAt.get(issue.loc.join()) ?? '', issue]));
    const rest = uses.filter(({ name }) => !excess.has(name));
    return { names: userNames.admit(userId, rest), excess };
  }
}
