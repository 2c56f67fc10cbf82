/** A typical metric. metric.lua sends the same one. */
const METRIC = { metric_name: 'page_load_time', metric_value: 2.5, data_string: '/dashboard' };

/** What all requests of a load have in common. */
export interface WireRequest {
  readonly url: string;
  readonly token: string;
  /** Metrics per batch. 0: a single metric. */
  readonly rows: number;
}

/** Returns a recording request as the bytes to write to the socket. */
export function metricRequest({ url, token, rows }: WireRequest): Buffer {
  const body = rows === 0 ? METRIC : { metrics: Array.from({ length: rows }, () => METRIC) };
  return requestBytes({ url, token, path: rows === 0 ? '/log_raw_metric' : '/log_batch' }, JSON.stringify(body));
}

/** Returns a POST request as bytes. */
export function requestBytes(
  { url, token, path }: { url: string; token: string; path: string },
  body: string | Buffer,
  headers: readonly string[] = [],
): Buffer {
  const lines = [
    `POST ${path} HTTP/1.1`,
    `Host: ${new URL(url).host}`,
    `Authorization: Bearer ${token}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), Buffer.from(body)]);
}
