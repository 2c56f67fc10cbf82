import { describe, expect, test } from 'bun:test';
import { PASSED_FIELDS } from '../../src/receiving/protocol.ts';
import { createRecognizer, responseFraming } from '../../src/receiving/request-head.ts';

/*
 * Receivers must recognize only requests that mean the same to any parser.
 */

const recognize = createRecognizer(['/log'], 100, false);
const withCors = createRecognizer(['/log'], 100, true);
const request = (lines: readonly string[], body = 'abc') => Buffer.from([...lines, '', body].join('\r\n'), 'latin1');
const START = ['POST /log HTTP/1.1', 'Host: x'];
const VALID = [...START, 'Content-Length: 3'];

describe('a recording request', () => {
  test('is recognized with the fields that are passed', () => {
    const buffer = request([...VALID, 'Authorization: Bearer a b', 'X-Forwarded-For:', 'Other: y'], 'abcGET /');
    const recognized = recognize(buffer);
    if (recognized.kind !== 'recording') throw new Error(recognized.kind);
    const { path, fields, bodyStart, end } = recognized;
    expect(path).toBe(0);
    expect(buffer.toString('latin1', bodyStart, end)).toBe('abc');
    expect(PASSED_FIELDS.map((name, i) => [name, fields[i]] as const).filter(([, value]) => value !== null)).toEqual([
      ['authorization', 'Bearer a b'],
      ['content-length', '3'],
      ['x-forwarded-for', ''],
    ]);
  });

  test('is incomplete until all of its body is there', () => {
    const whole = request(VALID);
    for (let length = 1; length < whole.length; length++) {
      expect(recognize(whole.subarray(0, length)).kind).toBe('incomplete');
    }
    expect(recognize(whole).kind).toBe('recording');
  });

  test('is incomplete with its end as soon as its head is there', () => {
    const whole = request(VALID);
    expect(recognize(whole.subarray(0, whole.length - 4))).toEqual({ kind: 'incomplete', end: undefined });
    expect(recognize(whole.subarray(0, whole.length - 3))).toEqual({ kind: 'incomplete', end: whole.length });
  });

  test('has a head of at most 16 KB', () => {
    const padded = (length: number) => request([...VALID, `Padding: ${'x'.repeat(length)}`]);
    const rest = padded(0).length - 'abc'.length;
    expect(recognize(padded(16 * 1024 - rest)).kind).toBe('recording');
    expect(recognize(padded(16 * 1024 - rest + 1)).kind).toBe('other');
  });
});

/** Requests that end where their head says, but that a receiver leaves to the main thread. */
test.each([
  ['another path', ['POST /other HTTP/1.1', 'Host: x', 'Content-Length: 3']],
  ['a query', ['POST /log?x HTTP/1.1', 'Host: x', 'Content-Length: 3']],
  ['another method', ['PUT /log HTTP/1.1', 'Host: x', 'Content-Length: 3']],
  ['an encoded path', ['POST /lo%67 HTTP/1.1', 'Host: x', 'Content-Length: 3']],
  ['two slashes', ['POST //log HTTP/1.1', 'Host: x', 'Content-Length: 3']],
  ['a content coding', [...VALID, 'Content-Encoding: gzip']],
  ['a field that occurs twice', [...VALID, 'Authorization: a', 'Authorization: b']],
])('%s is passed on alone', (_title, lines) => {
  const buffer = request(lines);
  expect(recognize(buffer)).toEqual({ kind: 'other', end: buffer.length, isHead: false });
});

test('a large body is passed on alone, before it has arrived', () => {
  const buffer = request([...START, 'Content-Length: 101'], 'a');
  expect(recognize(buffer)).toEqual({ kind: 'other', end: buffer.length + 100, isHead: false });
});

test('an origin matters only with CORS_ORIGINS', () => {
  const buffer = request([...VALID, 'Origin: https://app.example']);
  expect(recognize(buffer).kind).toBe('recording');
  expect(withCors(buffer).kind).toBe('other');
});

/** Requests after which the connection stays with the main thread. */
test.each([
  ['no host', ['POST /log HTTP/1.1', 'Content-Length: 3']],
  ['two hosts', [...VALID, 'Host: x']],
  ['an invalid host', ['POST /log HTTP/1.1', 'Host: a b', 'Content-Length: 3']],
  ['HTTP/1.0', ['POST /log HTTP/1.0', 'Host: x', 'Content-Length: 3']],
  ['a target with a host', ['POST http://x/log HTTP/1.1', 'Host: x', 'Content-Length: 3']],
  ['CONNECT', ['CONNECT /log HTTP/1.1', 'Host: x']],
  ['two lengths', [...VALID, 'Content-Length: 3']],
  ['a list of lengths', [...START, 'Content-Length: 3, 3']],
  ['a signed length', [...START, 'Content-Length: +3']],
  ['a hexadecimal length', [...START, 'Content-Length: 0x3']],
  ['an empty length', [...START, 'Content-Length:']],
  ['a transfer coding', [...VALID, 'Transfer-Encoding: chunked']],
  ['an expectation', [...VALID, 'Expect: 100-continue']],
  ['an upgrade', [...VALID, 'Upgrade: websocket']],
  ['close', [...VALID, 'Connection: close']],
  ['several connection options', [...VALID, 'Connection: keep-alive, content-length']],
  ['a space before a colon', [...START, 'Content-Length : 3']],
  ['a folded line', [...VALID, 'Other: a', ' b']],
  ['a space at the end of a value', [...VALID, 'Other: a ']],
  ['a line feed in a value', [...VALID, 'Other: a\nTransfer-Encoding: chunked']],
  ['a carriage return in a value', [...VALID, 'Other: a\rb']],
  ['a zero byte', [...VALID, 'Other: a\0b']],
  ['a value that is not ASCII', [...VALID, 'X-Act-As-User-Id: \xfc']],
  ['no name', [...VALID, ': a']],
  ['a lowercase method', ['post /log HTTP/1.1', 'Host: x', 'Content-Length: 3']],
  ['many fields', [...VALID, ...Array.from({ length: 100 }, (_, i) => `X-${i}: y`)]],
  ['a long head', [...VALID, `Other: ${'y'.repeat(20_000)}`]],
])('%s leaves the connection to the main thread', (_title, lines) => {
  expect(recognize(request(lines))).toEqual({ kind: 'other', end: undefined, isHead: false });
});

test('another method is passed on before its head is complete', () => {
  expect(recognize(Buffer.from('GE'))).toEqual({ kind: 'other', end: undefined, isHead: false });
});

test.each([
  ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n', false, 12],
  ['the response to HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n', true, 0],
  ['no content', 'HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n', false, 0],
  ['not modified', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n', false, 0],
  ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', false, undefined],
  ['continue', 'HTTP/1.1 100 Continue\r\n\r\n', false, undefined],
  ['close', 'HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n', false, undefined],
])('a response with %s ends where it should', (_title, head, isHead, bodyBytes) => {
  expect(responseFraming(Buffer.from(`${head}rest`), isHead)).toEqual({ headBytes: head.length, bodyBytes });
  expect(responseFraming(Buffer.from(head.slice(0, -1)), isHead)).toBeUndefined();
});
