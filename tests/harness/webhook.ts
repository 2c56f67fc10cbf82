import type { AlertMessage } from '../../src/alerts/alert.ts';

/** Starts a receiver of alerts. Tests set its response, and read the messages. */
export function startReceiver() {
  const state = {
    messages: [] as AlertMessage[],
    response: undefined as ((request: Request) => Response | Promise<Response>) | undefined,
  };
  let wake = Promise.withResolvers<void>();
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const message = (await request.json()) as AlertMessage;
      const response = (await state.response?.(request)) ?? new Response('ok');
      state.messages.push(message);
      wake.resolve();
      wake = Promise.withResolvers();
      return response;
    },
  });
  return {
    state,
    url: new URL(`http://127.0.0.1:${server.port}/hooks/the-secret-of-the-url`),
    /** Resolves to the first message that passes a test. */
    async received(test: (message: AlertMessage) => boolean): Promise<AlertMessage> {
      for (;;) {
        const found = state.messages.find(test);
        if (found) return found;
        await wake.promise;
      }
    },
    /** Returns the messages since the last call, as "alert status". */
    take: () => state.messages.splice(0).map(({ alert, status }) => `${alert} ${status}`),
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}
