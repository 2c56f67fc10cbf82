import { ApiError } from '../errors.ts';
import { recordJson, rowOf } from '../export/encode.ts';
import { createDataTest } from '../properties.ts';
import { type Kind, type LogRecord, matchesLabel, type Role } from '../records.ts';
import type { RecordFilter, RecordRow } from '../storage/records.ts';

/** Limits on open live tails, in total and per user, so that one user cannot take all of them. */
const MAX_TAILS = 100;
const MAX_TAILS_PER_USER = 20;
/** Tails reserved for admins and viewers, so that other users cannot lock them out. */
const RESERVED_TAILS = 20;
/** Interval between ticks, which reset rate limits and send heartbeats, in milliseconds. */
const TICK_MS = 250;
/** Maximum number of records sent to a tail per tick: more than a person can read. */
const RECORDS_PER_TICK = 100;
/** Longest interval between heartbeats, in milliseconds. Proxies close idle connections. */
const MAX_HEARTBEAT_INTERVAL_MS = 10_000;
/**
 * Bytes buffered per tail for a client that does not read, in addition to the socket buffers: enough for one tick's
 * records of typical size. The record that exceeds the limit is still buffered; later ones are skipped.
 */
const BUFFER_BYTES = 256 * 1024;

/**
 * Longest data that property filters examine, in characters, and how much they examine per tick for the tails of one user:
 * characters times the texts that they are searched for, about 10 ms. Other records are counted as skipped: recording
 * shares the thread.
 */
const MAX_EXAMINED_LENGTH = 65_536;
const EXAMINED_PER_TICK = 32_000_000;
/** Parsing a character takes about as long as searching it for this many texts. */
const PARSING_TEXTS = 8;

/** Filter for the records of a tail. */
export type TailFilter = Omit<RecordFilter, 'from' | 'to'>;

/**
 * Streams of committed records, sent to subscribers as server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 * A stream begins with `open`. Each `record` event contains the record's ID, and its JSON as data. `skipped` reports how
 * many records were dropped because they arrived too fast, or because the client reads too slowly, and how many could not
 * be examined by a property filter. `expired` is the last event, sent when the subscriber's token expires.
 */
export interface LiveTails {
  /**
   * Opens a tail. Every matching record that is published from now on is sent or counted as skipped.
   *
   * @throws {ApiError} `queries_overloaded` beyond {@link MAX_TAILS} and {@link MAX_TAILS_PER_USER}, `shutting_down` after
   *   {@link close}
   */
  open(kind: Kind, filter: TailFilter, subscriber: Subscriber): ReadableStream<Uint8Array>;
  /** Sends committed records to the tails whose filter they match. Does no work when no tail is open. */
  publish(records: readonly LogRecord[]): void;
  /** Returns the number of open tails. */
  count(): number;
  /** Ends all tails and rejects new ones. */
  close(): void;
}

/** The caller that opened a tail. */
interface Subscriber {
  readonly userId: string;
  readonly role: Role;
  /** Expiry of the subscriber's token, in milliseconds since 1970. */
  readonly expiresAt: number;
}

interface Tail {
  readonly kind: Kind;
  /** Returns whether the tail's filter selects a row, apart from its data. */
  readonly selects: (row: RecordRow) => boolean;
  /** Returns whether the tail's filter selects parsed data; undefined: any data. */
  readonly selectsData: ((data: unknown) => boolean) | undefined;
  /** Number of texts that the data is searched for. */
  readonly searchedTexts: number;
  readonly subscriber: Subscriber;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  /** Records that may still be sent before the next tick. */
  remaining: number;
  /** Records dropped since the last one that was sent. */
  skipped: number;
  /** Records whose data was not examined since the last `skipped` event. They do not hold up the records that follow. */
  unexamined: number;
}

/**
 * Creates the live tails.
 *
 * @param now returns milliseconds since 1970
 * @param isOneOfMany whether queries also return rows of other nodes: then the `open` event says that tails do not
 */
export function createLiveTails(now: () => number, idleTimeoutSeconds: number, isOneOfMany = false): LiveTails {
  // three heartbeats within Bun's idle timeout
  const heartbeatIntervalMs = Math.min(MAX_HEARTBEAT_INTERVAL_MS, (idleTimeoutSeconds * 1000) / 3);
  const ticksPerHeartbeat = Math.max(1, Math.floor(heartbeatIntervalMs / TICK_MS));
  const tails = new Set<Tail>();
  let timer: ReturnType<typeof setInterval> | undefined;
  let ticks = 0;
  /** What property filters have examined since the last tick, by user: see {@link EXAMINED_PER_TICK}. */
  const examined = new Map<string, number>();
  let isClosed = false;

  function add(tail: Tail): void {
    tails.add(tail);
    timer ??= setInterval(tick, TICK_MS);
    send(tail, isOneOfMany ? OPEN_ON_NODE : OPEN);
  }

  function remove(tail: Tail): void {
    tails.delete(tail);
    if (tails.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  function send(tail: Tail, event: Uint8Array): void {
    try {
      tail.controller.enqueue(event);
    } catch {
      remove(tail); // the client has just disconnected
    }
  }

  /** Reports skipped records before the next record is sent, so that the event marks the gap. */
  function sendSkipped(tail: Tail): void {
    const records = tail.skipped + tail.unexamined;
    if (records === 0) return;
    send(tail, eventOf('skipped', `{"records":${records}}`));
    tail.skipped = 0;
    tail.unexamined = 0;
  }

  function end(tail: Tail): void {
    remove(tail);
    try {
      tail.controller.close();
    } catch {
      // the client has just disconnected
    }
  }

  /** Returns whether there is time to examine data of this length for a tail. If not, counts its record as unexamined. */
  function canExamine(tail: Tail, length: number): boolean {
    const { userId } = tail.subscriber;
    const sum = (examined.get(userId) ?? 0) + length * (PARSING_TEXTS + tail.searchedTexts);
    if (length > MAX_EXAMINED_LENGTH || sum > EXAMINED_PER_TICK) {
      tail.unexamined++;
      return false;
    }
    examined.set(userId, sum);
    return true;
  }

  function endExpired(): void {
    const time = now();
    for (const tail of tails) {
      if (time < tail.subscriber.expiresAt) continue;
      sendSkipped(tail);
      send(tail, EXPIRED);
      end(tail);
    }
  }

  function tick(): void {
    endExpired();
    const isHeartbeat = ++ticks % ticksPerHeartbeat === 0;
    examined.clear();
    for (const tail of tails) {
      tail.remaining = RECORDS_PER_TICK;
      // send nothing to a full tail: if it stays full, Bun's idle timeout closes the connection
      if (isFull(tail)) continue;
      sendSkipped(tail);
      if (isHeartbeat) send(tail, HEARTBEAT);
    }
  }

  return {
    open(kind, filter, subscriber) {
      if (isClosed) throw new ApiError('shutting_down');
      const reserved = subscriber.role === 'user' ? RESERVED_TAILS : 0;
      if (tails.size >= MAX_TAILS - reserved) {
        throw new ApiError('queries_overloaded', {
          message: `The server has ${tails.size} live tails open and accepts no more.`,
        });
      }
      const tailsOfUser = [...tails].filter((tail) => tail.subscriber.userId === subscriber.userId).length;
      if (tailsOfUser >= MAX_TAILS_PER_USER) {
        throw new ApiError('queries_overloaded', {
          message: `This user has reached the limit of ${MAX_TAILS_PER_USER} open live tails.`,
        });
      }
      let tail: Tail;
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            const selectsData = filter.properties?.length ? createDataTest(filter.properties) : undefined;
            const selects = (row: RecordRow) => matches(row, filter);
            tail = {
              kind,
              selects,
              selectsData,
              searchedTexts: (filter.properties ?? []).reduce((sum, { containsAny }) => sum + containsAny.length, 0),
              subscriber,
              controller,
              remaining: RECORDS_PER_TICK,
              skipped: 0,
              unexamined: 0,
            };
            add(tail);
          },
          cancel() {
            remove(tail);
          },
        },
        new ByteLengthQueuingStrategy({ highWaterMark: BUFFER_BYTES }),
      );
    },
    publish(records) {
      if (tails.size === 0) return;
      endExpired();
      for (const record of records) {
        const row = rowOf(record);
        let parsed: { readonly data: unknown } | undefined; // parsed once for all tails, and only if one needs it
        const data = () => {
          parsed ??= { data: JSON.parse(row.value as string) }; // only events have property filters
          return parsed.data;
        };
        let event: Uint8Array | undefined; // encoded once for all tails, and only if one needs it
        for (const tail of tails) {
          if (tail.kind !== record.kind || !tail.selects(row)) continue;
          if (tail.selectsData && !(canExamine(tail, String(row.value).length) && tail.selectsData(data()))) continue;
          if (tail.remaining === 0 || tail.skipped > 0 || isFull(tail)) {
            tail.skipped++;
            continue;
          }
          tail.remaining--;
          event ??= eventOf('record', recordJson(record.kind, row), row.id);
          send(tail, event);
        }
      }
    },
    count: () => tails.size,
    close() {
      isClosed = true;
      for (const tail of tails) {
        sendSkipped(tail);
        end(tail);
      }
    },
  };
}

function matches(row: RecordRow, { user, name, labels }: TailFilter): boolean {
  return (
    (user === undefined || row.user_id === user) &&
    (name === undefined || row.name === name) &&
    (labels === undefined || matchesLabel(row.label, labels))
  );
}

function isFull({ controller }: Tail): boolean {
  return (controller.desiredSize ?? 0) <= 0;
}

const encoder = new TextEncoder();

/** Encodes a server-sent event. `data` is JSON, which contains no line breaks. */
function eventOf(name: string, data: string, id?: string): Uint8Array {
  return encoder.encode(`${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${data}\n\n`);
}

// clients do not dispatch events without data
const OPEN = eventOf('open', '{}');
const OPEN_ON_NODE = eventOf('open', '{"scope":"node"}');
const EXPIRED = eventOf('expired', '{}');
const HEARTBEAT = encoder.encode(': heartbeat\n\n');
