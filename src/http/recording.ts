import type { TSchema } from '@sinclair/typebox';
import type { TypeCheck } from '@sinclair/typebox/compiler';
import { type Context, Elysia } from 'elysia';
import type { Logger } from 'pino';
import type { CachedVerifier } from '../auth/token-cache.ts';
import { Failure } from '../errors.ts';
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { RecordId } from '../ingest/ids.ts';
import { keepExactNumbers } from '../json.ts';
import {
  type Analytics,
  type AnalyticsRecord,
  analyticsCheck,
  happenedAt,
  type LogRecord,
  type MetricRecord,
  metricCheck,
} from '../records.ts';
import { authenticate, recordedUser } from './auth.ts';
import { readJson } from './body.ts';
import { recordingRoute } from './openapi.ts';
import { REQUEST_ID_HEADER } from './request-id.ts';
import { validate } from './validation.ts';

/** What the recording routes work with. */
export interface RecordingParts {
  readonly verify: CachedVerifier;
  readonly queue: CommitQueue;
  readonly nextId: () => RecordId;
  /** Whether the server still takes new records. */
  readonly isOpen: () => boolean;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
  readonly log: Logger;
  readonly maxBodyBytes: number;
  /** Microseconds. */
  readonly maxClockSkew: number;
}

/**
 * The recording routes. A request is authenticated by its headers alone; then its body is read,
 * parsed and checked; the record goes to the commit queue; its id is the answer.
 *
 * All of that is in the handler, in that order, and Elysia is told to leave the body alone: its hooks
 * that come before a body is read know no route, and those of a route come after the check of the
 * body, when an anonymous caller would already have been told what is wrong with it.
 */
export function recording(parts: RecordingParts) {
  const { verify, queue, nextId, isOpen, now, log, maxBodyBytes, maxClockSkew } = parts;

  /** Takes a request as far as a checked body and the user whom it is recorded for. */
  async function receive<Schema extends TSchema>({ request, set }: Input, check: TypeCheck<Schema>) {
    const { headers } = request;
    const open = isOpen();
    const authenticated = authenticate(headers, verify);
    const sender = authenticated instanceof Promise ? await authenticated : authenticated;
    const userId = recordedUser(headers, sender, String(set.headers[REQUEST_ID_HEADER]), log);
    if (!open) throw new Failure('shutting_down');
    const { text, value } = await readJson(request, maxBodyBytes);
    return { userId, text, body: validate('body', check, value) };
  }

  function whenHappened(timestamp: string | undefined, receivedAt: number): number {
    const time = happenedAt(timestamp, receivedAt, maxClockSkew, ['body']);
    if (typeof time !== 'number') throw new Failure('validation_failed', { faults: [time] });
    return time;
  }

  /** Answers with the record's id as a JSON string, once it is on the disk. */
  async function answerStored({ set }: Input, record: LogRecord, bytes: number): Promise<string> {
    await queue.store([record], bytes);
    set.headers['content-type'] = 'application/json';
    return `"${record.id}"`;
  }

  return new Elysia({ name: 'recording' })
    .post(
      '/log_raw_metric',
      async ({ request, set }) => {
        const { userId, text, body } = await receive({ request, set }, metricCheck);
        const receivedAt = now() * 1000;
        const happenedAt = whenHappened(body.timestamp, receivedAt);
        const { id, seq } = nextId();
        const { metric_name: metricName, metric_value: metricValue, data_string: dataString } = body;
        const record: MetricRecord = {
          kind: 'metric',
          seq,
          id,
          userId,
          happenedAt,
          receivedAt,
          metricName,
          metricValue,
          dataString,
        };
        return answerStored({ request, set }, record, text.length);
      },
      {
        parse: 'none',
        detail: recordingRoute(
          'Record a metric',
          'Stores one measured value, such as a load time, for the user of the token.',
          metricCheck.Schema(),
        ),
      },
    )
    .post(
      '/log_raw_analytics',
      async ({ request, set }) => {
        const { userId, text, body } = await receive({ request, set }, analyticsCheck);
        const receivedAt = now() * 1000;
        const happenedAt = whenHappened(body.timestamp, receivedAt);
        const data = JSON.stringify(exactNumbers(text, body).data);
        const { id, seq } = nextId();
        const { type, data_index: dataIndex } = body;
        const record: AnalyticsRecord = {
          kind: 'analytics',
          seq,
          id,
          userId,
          happenedAt,
          receivedAt,
          type,
          dataIndex,
          data,
        };
        return answerStored({ request, set }, record, text.length);
      },
      {
        parse: 'none',
        detail: recordingRoute(
          'Record an analytics event',
          'Stores one thing that the user of the token did, such as a finished step of a tutorial.',
          analyticsCheck.Schema(),
        ),
      },
    );
}

type Input = Pick<Context, 'request' | 'set'>;

/** A checked event as its text has it: the two readings differ in the digits of numbers alone. */
function exactNumbers(text: string, event: Analytics): Analytics {
  return (keepExactNumbers(text) as Analytics | undefined) ?? event;
}
