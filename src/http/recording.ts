import type { TSchema } from '@sinclair/typebox';
import type { TypeCheck } from '@sinclair/typebox/compiler';
import { type Context, Elysia } from 'elysia';
import type { Logger } from 'pino';
import type { CachedVerifier } from '../auth/token-cache.ts';
import { Failure } from '../errors.ts';
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { Idempotency } from '../ingest/idempotency.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { RateLimit } from '../ingest/rate-limit.ts';
import type { Stamper } from '../ingest/stamper.ts';
import { keepExactNumbers } from '../json.ts';
import { type Analytics, analyticsCheck, type Batch, batchCheck, type LogRecord, metricCheck } from '../records.ts';
import type { RememberedAnswer } from '../storage/writer.ts';
import { authenticate, recordedUser } from './auth.ts';
import { readJson } from './body.ts';
import { noteItems } from './items.ts';
import { EXAMPLE_ID, recordingRoute } from './openapi.ts';
import { REQUEST_ID_HEADER } from './request-start.ts';
import { batchSizeFaults, validate } from './validation.ts';

/** What the recording routes work with. */
export interface RecordingParts {
  readonly verify: CachedVerifier;
  readonly queue: CommitQueue;
  readonly idempotency: Idempotency;
  readonly stamper: Stamper;
  readonly ledger: Ledger;
  /** Limits the rows of each user. */
  readonly rows: RateLimit;
  /** Whether the server still takes new records. */
  readonly isOpen: () => boolean;
  readonly log: Logger;
  readonly maxBodyBytes: number;
  readonly maxBatchItems: number;
}

/** A request that has been authenticated, read and checked. */
interface Received<Body> {
  /** The user whom it is recorded for, and the one who sent it. */
  readonly userId: string;
  readonly senderId: string;
  readonly text: string;
  readonly body: Body;
}

type Input = Pick<Context, 'request' | 'set'>;

/**
 * The recording routes. A request is authenticated by its headers alone; then its body is read,
 * parsed and checked; its records go to the commit queue; their ids are the answer.
 *
 * All of that is in the handler, in that order, and Elysia is told to leave the body alone: its hooks
 * that come before a body is read know no route, and those of a route come after the check of the
 * body, when an anonymous caller would already have been told what is wrong with it.
 */
export function recording(parts: RecordingParts) {
  const { verify, queue, idempotency, stamper, ledger, rows, isOpen, log, maxBodyBytes, maxBatchItems } = parts;

  async function receive<Schema extends TSchema>({ request, set }: Input, check: TypeCheck<Schema>) {
    const { headers } = request;
    const open = isOpen();
    const authenticated = authenticate(headers, verify);
    const sender = authenticated instanceof Promise ? await authenticated : authenticated;
    const userId = recordedUser(headers, sender, String(set.headers[REQUEST_ID_HEADER]), log);
    if (!open) throw new Failure('shutting_down');
    const { text, value } = await readJson(request, maxBodyBytes);
    noteItems(request, value);
    return { userId, senderId: sender.userId, text, body: validate('body', check, value) };
  }

  /**
   * Stores a request's records and answers with their ids; with an Idempotency-Key, once.
   *
   * @param make makes the records, and of their ids the text of the answer
   */
  async function store<Body>(
    { request, set }: Input,
    route: string,
    count: number,
    { userId, senderId, text, body }: Received<Body>,
    make: (userId: string, body: Body, text: string) => { records: LogRecord[]; answer: string },
  ): Promise<string> {
    const key = idempotencyKey(request.headers);
    rows.take(userId, count);
    const work = async (remember?: (answer: string) => RememberedAnswer) => {
      const { records, answer } = make(userId, body, text);
      await queue.store(records, text.length, remember?.(answer));
      return answer;
    };
    set.headers['content-type'] = 'application/json';
    if (key === undefined) return work();
    const fingerprint = Bun.SHA256.hash(JSON.stringify([senderId, text]), 'base64');
    const { answer, replayed } = await idempotency.once({ userId, route, key }, fingerprint, work);
    if (replayed) {
      ledger.duplicate(count);
      set.headers['idempotent-replayed'] = 'true';
    }
    return answer;
  }

  return new Elysia({ name: 'recording' })
    .post(
      '/log_raw_metric',
      async ({ request, set }) => {
        const received = await receive({ request, set }, metricCheck);
        return store({ request, set }, '/log_raw_metric', 1, received, (userId, body) => {
          const record = stamper.metric(userId, body, ['body']);
          return { records: [record], answer: `"${record.id}"` };
        });
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
        const received = await receive({ request, set }, analyticsCheck);
        return store({ request, set }, '/log_raw_analytics', 1, received, (userId, body, text) => {
          const record = stamper.analytics(userId, body, exactNumbers(text, body).data, ['body']);
          return { records: [record], answer: `"${record.id}"` };
        });
      },
      {
        parse: 'none',
        detail: recordingRoute(
          'Record an analytics event',
          'Stores one thing that the user of the token did, such as a finished step of a tutorial.',
          analyticsCheck.Schema(),
        ),
      },
    )
    .post(
      '/log_batch',
      async ({ request, set }) => {
        const received = await receive({ request, set }, batchCheck);
        const count = (received.body.metrics?.length ?? 0) + (received.body.analytics?.length ?? 0);
        const faults = batchSizeFaults(count, maxBatchItems);
        if (faults.length > 0) throw new Failure('validation_failed', { faults });
        return store({ request, set }, '/log_batch', count, received, (userId, body, text) => {
          const { metrics, analytics } = stamper.batch(userId, body, exactNumbers(text, body));
          const ids = { metrics: metrics.map(({ id }) => id), analytics: analytics.map(({ id }) => id) };
          return { records: [...metrics, ...analytics], answer: JSON.stringify(ids) };
        });
      },
      {
        parse: 'none',
        detail: recordingRoute(
          'Record a batch',
          `Stores metrics and events together, all or none: 1 to ${maxBatchItems} items.`,
          batchCheck.Schema(),
          {
            description: "The new rows' ids, UUIDv7, in the order sent",
            schema: {
              type: 'object',
              required: ['metrics', 'analytics'],
              properties: {
                metrics: { type: 'array', items: { type: 'string', format: 'uuid' } },
                analytics: { type: 'array', items: { type: 'string', format: 'uuid' } },
              },
            },
            example: { metrics: [EXAMPLE_ID], analytics: [EXAMPLE_ID.replace('001', '002')] },
          },
        ),
      },
    );
}

/** A checked body as its text has it: the two readings differ in the digits of numbers alone. */
function exactNumbers<Body extends Analytics | Batch>(text: string, body: Body): Body {
  return (keepExactNumbers(text) as Body | undefined) ?? body;
}

/** The key of a request that may be repeated: 1 to 255 visible ASCII characters. */
function idempotencyKey(headers: Headers): string | undefined {
  const key = headers.get('idempotency-key');
  if (key === null) return undefined;
  if (/^[\x21-\x7e]{1,255}$/.test(key)) return key;
  const msg = 'String should have 1 to 255 visible ASCII characters';
  throw new Failure('validation_failed', {
    faults: [{ loc: ['header', 'idempotency-key'], msg, type: 'string_pattern_mismatch' }],
  });
}
