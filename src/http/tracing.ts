import { AsyncLocalStorage } from 'node:async_hooks';
import { Elysia } from 'elysia';
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { FinishedQuery } from '../query/caller.ts';
import type { RequestHead } from './header-fields.ts';
import type { QueryKind } from './query-metrics.ts';
import type { RecordingHandler } from './recording-request.ts';

/** Attributes of a span. They never contain values of a request, such as its path, parameters or user. */
export type Attributes = Readonly<Record<string, string | number>>;

/** A span that has not ended. Times are on the monotonic clock, in milliseconds. */
export interface OpenSpan {
  /** Adds a span below it that has ended. It may itself have ended, as that of an export does before its last parts. */
  child(name: string, startedAt: number, endedAt: number, attributes?: Attributes): void;
  end(name: string, attributes: Attributes, isError: boolean): void;
}

/** Creates spans and exports them. */
export interface Tracer {
  /**
   * Starts the span of a request, below the span in its `traceparent` field if it has a valid one.
   *
   * @returns undefined if the request is not sampled
   */
  request(method: string, traceparent: string | null): OpenSpan | undefined;
  /** Starts a span without a parent; returns undefined if it is not sampled. */
  span(startedAt: number): OpenSpan | undefined;
  /** Exports the spans that have ended. Never throws. */
  flush(): Promise<void>;
}

/** The spans of the server. */
export type Tracing = ReturnType<typeof createTracing>;

/** Creates the spans of requests, of what they wait for, and of commits. None of this exists unless traces are exported. */
export function createTracing(tracer: Tracer) {
  const spans = new WeakMap<Request, OpenSpan>();
  /** The span of the recording request that runs, if it is sampled. */
  const recording = new AsyncLocalStorage<OpenSpan>();

  const start = ({ method, headers }: RequestHead) => tracer.request(method, headers.get('traceparent'));

  function end(span: OpenSpan, method: string, route: string, status: number, requestId: string): void {
    const attributes = {
      'http.request.method': method,
      'http.route': route,
      'http.response.status_code': status,
      'rawlog.request_id': requestId,
    };
    span.end(`${method} ${route}`, attributes, status >= 500);
  }

  return {
    /** Returns a recording route's handler with spans. Such a handler does without hooks. */
    handler(route: string, handle: RecordingHandler): RecordingHandler {
      return async (request, create) => {
        const span = start(request);
        if (!span) return handle(request, create);
        const plain = await recording.run(span, () => handle(request, (response) => response));
        end(span, 'POST', route, plain.status, plain.headers['x-request-id'] ?? '');
        return create(plain);
      };
    },
    /** Creates the hooks of all other routes. */
    hooks: () =>
      new Elysia({ name: 'tracing' })
        .decorate('requestId', '') // set by request-start.ts
        .onTransform({ as: 'global' }, ({ request }) => {
          const span = start(request);
          if (span) spans.set(request, span);
        })
        .onAfterResponse({ as: 'global' }, ({ request, route, set, requestId }) => {
          const span = spans.get(request);
          if (span) end(span, request.method, route, Number(set.status ?? 200), requestId);
        }),
    /** Returns the commit queue with a span for each time that a request waits for its commit. */
    commitQueue: (queue: CommitQueue): CommitQueue => ({
      ...queue,
      async store(...records) {
        const startedAt = performance.now();
        try {
          await queue.store(...records);
        } finally {
          recording.getStore()?.child('commit queue', startedAt, performance.now());
        }
      },
    }),
    /** Adds the wait of a query for its turn, and its run, to its request. */
    query(request: Request, query: QueryKind, { waitedMs, ranMs }: FinishedQuery): void {
      const span = spans.get(request);
      if (!span) return;
      const now = performance.now();
      const startedAt = now - (ranMs ?? 0);
      span.child('query queue', startedAt - waitedMs, startedAt);
      if (ranMs !== undefined) span.child('query', startedAt, now, { 'rawlog.query': query });
    },
    /** Adds a commit, which stores the rows of many requests, with its fsync. Takes seconds. */
    commit(rows: number, seconds: number, syncSeconds: number): void {
      const now = performance.now();
      const span = tracer.span(now - seconds * 1000);
      span?.child('fsync', now - syncSeconds * 1000, now);
      span?.end('commit', { 'rawlog.rows': rows }, false);
    },
    flush: tracer.flush,
  };
}
