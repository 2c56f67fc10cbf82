/** A metric like those that products send; metric.lua has the same. */
const METRIC = { metric_name: 'page_load_time', metric_value: 2.5, data_string: '/dashboard' };

/** What is the same in every request of a load. */
export interface WireRequest {
  readonly url: string;
  readonly token: string;
  /** Metrics of a batch; 0: a single one. */
  readonly rows: number;
}

/** A request to record as the bytes that go over the connection. */
export function metricRequest({ url, token, rows }: WireRequest): Buffer {
  const body = rows === 0 ? METRIC : { metrics: Array.from({ length: rows }, () => METRIC) };
  return requestBytes({ url, token, path: rows === 0 ? '/log_raw_metric' : '/log_batch' }, JSON.stringify(body));
}

/** A POST as bytes. */
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
