import { onCLS, onFCP, onINP, onLCP, onTTFB, type Metric as Vital } from 'web-vitals';
import type { Client } from './types.ts';

/** What {@link capture} records. Everything is off unless it is `true`. */
export interface CaptureOptions {
  /** Events `page_view`: on load and when the path changes, also in single-page apps. */
  pageViews?: boolean;
  /** Metrics `web_vital_cls`, `web_vital_fcp`, `web_vital_inp`, `web_vital_lcp` and `web_vital_ttfb`. */
  webVitals?: boolean;
  /** Events `uncaught_error`: uncaught errors and unhandled rejections of promises. */
  errors?: boolean;
}

/** Most errors per page load: an error in a loop must not displace other events. */
const MAX_ERRORS = 20;
/** Longest text of an error, in UTF-16 code units. */
const MAX_MESSAGE = 1_000;
const MAX_STACK = 4_000;

/**
 * Records page views, web vitals or uncaught errors of this page with a client. Sets no cookies, and records neither
 * query strings nor fragments of addresses.
 *
 * @returns a function that stops recording
 */
export function capture(client: Pick<Client, 'metric' | 'track'>, options: CaptureOptions): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  if (options.pageViews) capturePageViews(client, signal);
  if (options.webVitals) captureWebVitals(client, signal);
  if (options.errors) captureErrors(client, signal);
  return () => controller.abort();
}

function capturePageViews(client: Pick<Client, 'track'>, signal: AbortSignal): void {
  let path: string | undefined;
  // of another site, only the origin
  let referrer = originOf(document.referrer);
  const view = () => {
    if (signal.aborted || location.pathname === path) return;
    path = location.pathname;
    client.track('page_view', { path, referrer }, path);
    referrer = location.origin;
  };
  for (const name of ['pushState', 'replaceState'] as const) {
    const original = history[name];
    const patched: typeof original = function (this: History, ...args) {
      original.apply(this, args);
      view();
    };
    history[name] = patched;
    signal.addEventListener('abort', () => {
      // unless another script has patched it since
      if (history[name] === patched) history[name] = original;
    });
  }
  addEventListener('popstate', view, { signal });
  view();
}

function captureWebVitals(client: Pick<Client, 'metric'>, signal: AbortSignal): void {
  const path = location.pathname;
  const report = ({ name, value }: Vital) => {
    if (!signal.aborted) client.metric(`web_vital_${name.toLowerCase()}`, value, path);
  };
  for (const observe of [onCLS, onFCP, onINP, onLCP, onTTFB]) observe(report);
}

function captureErrors(client: Pick<Client, 'track'>, signal: AbortSignal): void {
  const seen = new Set<string>();
  const report = (error: unknown, message: string, source = '', line = 0, column = 0) => {
    const { name = 'Error', stack = '' } = error instanceof Error ? error : {};
    const place = `${message} ${source}:${line}:${column}`;
    if (seen.size >= MAX_ERRORS || seen.has(place)) return;
    seen.add(place);
    client.track(
      'uncaught_error',
      {
        name,
        message: message.slice(0, MAX_MESSAGE),
        stack: withoutQueries(stack).slice(0, MAX_STACK),
        source: withoutQueries(source),
        line,
        column,
        path: location.pathname,
      },
      name,
    );
  };
  addEventListener('error', (event) => report(event.error, event.message, event.filename, event.lineno, event.colno), {
    signal,
  });
  addEventListener('unhandledrejection', ({ reason }) => report(reason, textOf(reason)), { signal });
}

function textOf(reason: unknown): string {
  try {
    return reason instanceof Error ? reason.message : String(reason);
  } catch {
    return 'a value without text';
  }
}

function originOf(url: string): string {
  return url && new URL(url).origin;
}

/** Removes query strings and fragments from the addresses in a text. */
function withoutQueries(text: string): string {
  return text.replace(/(https?:\/\/[^\s?#)]*)[?#][^\s:)]*/g, '$1');
}
