import { createParser, type EventSourceMessage } from 'eventsource-parser';

/** A stream of server-sent events that is read as it comes. */
export interface EventStream {
  readonly response: Response;
  /** The next event; undefined when the server has ended the stream. */
  next(): Promise<EventSourceMessage | undefined>;
  /** The next comment, past events that come before it. */
  comment(): Promise<string>;
  /** Goes away. */
  close(): void;
}

/** Opens a stream of server-sent events; gives it as soon as its head is there. */
export async function openEvents(url: string, headers: Record<string, string>): Promise<EventStream> {
  const leaving = new AbortController();
  const response = await fetch(url, { headers, signal: leaving.signal });
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
  const readUntil = async (have: () => boolean): Promise<void> => {
    while (!have()) {
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
    close: () => leaving.abort(),
  };
}
