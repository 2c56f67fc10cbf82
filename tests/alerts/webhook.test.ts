import { expect, test } from 'bun:test';
import { messageOf } from '../../src/alerts/alert.ts';
import { postMessage } from '../../src/alerts/webhook.ts';
import { startReceiver } from '../harness/webhook.ts';

const MESSAGE = messageOf(
  { alert: 'disk', status: 'resolved', since: 0, at: 7_200_000, summary: 'It is full.', details: { free_bytes: 1 } },
  'a<b',
);
const NEVER = new AbortController().signal;

test('a message has a text for chat services and fields for programs', async () => {
  await using receiver = startReceiver();
  expect(await postMessage(receiver.url, MESSAGE, NEVER)).toBeUndefined();
  expect(receiver.state.messages).toEqual([
    {
      text: 'Ended after 2 hours: rawlog on a&lt;b: It is full.',
      alert: 'disk',
      status: 'resolved',
      summary: 'It is full.',
      host: 'a&lt;b',
      since: '1970-01-01T00:00:00Z',
      at: '1970-01-01T02:00:00Z',
      details: { free_bytes: 1 },
    },
  ]);
});

test('a redirect is not followed', async () => {
  await using target = startReceiver();
  await using receiver = startReceiver();
  for (const status of [301, 307, 308]) {
    receiver.state.response = () => Response.redirect(target.url.href, status);
    expect(await postMessage(receiver.url, MESSAGE, NEVER)).toMatchObject({ reason: 'a redirect' });
  }
  expect(target.state.messages).toEqual([]);
});

test('an error, a slow receiver and none are failures that do not contain the URL', async () => {
  await using receiver = startReceiver();
  receiver.state.response = () => new Response('no', { status: 429, headers: { 'retry-after': '30' } });
  expect(await postMessage(receiver.url, MESSAGE, NEVER)).toEqual({ reason: 'status 429', retryAfterSeconds: 30 });
  const { promise, resolve } = Promise.withResolvers<Response>();
  receiver.state.response = () => promise;
  const slow = await postMessage(receiver.url, MESSAGE, NEVER, 50);
  expect(slow?.reason).toBe('no response in time');
  const closing = new AbortController();
  const canceled = postMessage(receiver.url, MESSAGE, closing.signal);
  closing.abort();
  expect((await canceled)?.reason).toBeString();
  resolve(new Response());
  const closed = startReceiver();
  await closed[Symbol.asyncDispose]();
  const none = await postMessage(closed.url, MESSAGE, NEVER);
  expect(none?.reason).toBeString();
  expect(none?.reason).not.toContain('secret');
});
