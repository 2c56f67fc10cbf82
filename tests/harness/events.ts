import { createParser, type EventSourceMessage } from 'eventsource-parser';

/** A stream of server-sent events. */
export interface EventStream {
  readonly response: Response;
  /** Resolves to the next event, or to undefined once the server has ended the stream. */
  next(): Promise<EventSourceMessage | undefined>;
  /** Resolves to the next comment. Events that arrive before it stay queued. */
  comment(): Promise<string>;
  /** Disconnects. */
  close(): void;
}

/** Opens a stream of server-sent events; resolves once the response head has arrived. */
export async function openEvents(
  url: string,
  headers: Record<string, string>,
  tls: { readonly ca?: string } = {},
): Promise<EventStream> {
  const controller = new AbortController();
  const response = await fetch(url, { headers, signal: controller.signal, tls });
  const events: EventSourceMessage[] = [];
  const comments: string[] = [];
  const parser = createParser({
    onEvent: (event) => void events.push(event),
    onComment: (comment) => void comments.push(comment),
    onError(error) {
      throw error;
    },
  });
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  const readUntil = async (isReady: () => boolean): Promise<void> => {
    while (!isReady()) {
      const { value, done } = (await reader?.read()) ?? { done: true };
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
    }
  };
  return {
    response,
    async next() {
      await readUntil(() => events.length > 0);
      return events.shift();
    },
    async comment() {
      await readUntil(() => comments.length > 0);
      return comments.shift() ?? '';
    },
    close: () => controller.abort(),
  };
}
