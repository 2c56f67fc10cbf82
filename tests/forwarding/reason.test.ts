import { expect, test } from 'bun:test';
import { failureReason } from '../../src/forwarding/reason.ts';
import { SinkUnavailableError } from '../../src/forwarding/sink.ts';

test.each([
  ['clickhouse://log:catalog-1@db/x', 'catalog-1'],
  ['clickhouse://a:banana@db/x', 'banana'],
  ['clickhouse://catalog-12:log@db/x', 'catalog-12'],
  ['clickhouse://u:p%40ss%3Aword@db/x', 'p@ss:word'],
])('a reason has no part of the credentials of %s', (url, secret) => {
  const reason = failureReason(new SinkUnavailableError(`: ${secret} :`), new URL(url));
  expect(reason).toBe(': *** :');
});
