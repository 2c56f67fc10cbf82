import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { ExportResultCode, parseTraceParent } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import { version } from '../../package.json' with { type: 'json' };
import type { Attributes, OpenSpan, Tracer } from './tracing.ts';

/*
 * Imported only if traces are exported, so that other servers do not evaluate these libraries.
 */

/** Spans that wait for their export. Further ones are dropped. */
const MAX_QUEUED_SPANS = 2_048;
/** How long an export may take, in milliseconds. */
const EXPORT_TIMEOUT_MS = 5_000;
/** Time between two exports, in milliseconds. */
const EXPORT_INTERVAL_MS = 1_000;
/** Minimum time between two reports of failed exports, in milliseconds. */
const REPORT_INTERVAL_MS = 60_000;

/** Where traces are sent, and how many. */
export interface TraceTarget {
  readonly url: string;
  /** The part of the traces that is sampled, from 0 to 1. */
  readonly ratio: number;
}

/**
 * Creates a tracer that exports spans with OTLP over HTTP, as JSON.
 *
 * @param onFailed called when an export fails, at most once per minute, with an error code, an HTTP status, or a message
 *   without the URL
 */
export function createOtlpTracer({ url, ratio }: TraceTarget, onFailed: (reason: string | number) => void): Tracer {
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT_MS });
  let reportedAt = Number.NEGATIVE_INFINITY;
  function report(error: (Error & { readonly code?: string | number }) | undefined): void {
    const now = performance.now();
    if (now - reportedAt < REPORT_INTERVAL_MS) return;
    reportedAt = now;
    onFailed(error?.code ?? error?.message.replaceAll(url, 'URL') ?? 'unknown');
  }
  const reportingExporter: SpanExporter = {
    export(spans, onResult) {
      exporter.export(spans, (result) => {
        if (result.code === ExportResultCode.FAILED) report(result.error);
        onResult(result);
      });
    },
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  };
  const processor = new BatchSpanProcessor(reportingExporter, {
    maxQueueSize: MAX_QUEUED_SPANS,
    scheduledDelayMillis: EXPORT_INTERVAL_MS,
    exportTimeoutMillis: EXPORT_TIMEOUT_MS,
  });
  const sampler = new TraceIdRatioBasedSampler(ratio);
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'rawlog', 'service.version': version }),
    // any client can send a sampled parent, so the ratio also applies to it: the trace ID decides
    sampler: new ParentBasedSampler({ root: sampler, remoteParentSampled: sampler }),
    spanProcessors: [processor],
  });
  const tracer = provider.getTracer('rawlog', version);

  /** Opens a span, unless it is not sampled. OpenTelemetry takes numbers below the process's start time as times of the monotonic clock. */
  function open(span: Span): OpenSpan | undefined {
    if (!span.isRecording()) return undefined;
    const below = trace.setSpan(ROOT_CONTEXT, span);
    return {
      child(name, startTime, endTime, attributes = {}) {
        tracer.startSpan(name, { startTime, attributes }, below).end(endTime);
      },
      end(name: string, attributes: Attributes, isError: boolean) {
        span.updateName(name).setAttributes(attributes);
        if (isError) span.setStatus({ code: SpanStatusCode.ERROR });
        span.end(performance.now());
      },
    };
  }

  return {
    request(method, traceparent) {
      const parent = traceparent === null ? null : parseTraceParent(traceparent);
      const context = parent ? trace.setSpanContext(ROOT_CONTEXT, { ...parent, isRemote: true }) : ROOT_CONTEXT;
      return open(tracer.startSpan(method, { kind: SpanKind.SERVER, startTime: performance.now() }, context));
    },
    span: (startTime) => open(tracer.startSpan('', { startTime }, ROOT_CONTEXT)),
    async flush() {
      await provider.forceFlush().catch(() => {}); // the receiver is down: the spans are dropped
    },
  };
}
