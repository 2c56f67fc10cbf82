import { ApiError } from '../errors.ts';
import { recordJson, rowOf } from '../export/encode.ts';
import type { Kind, LogRecord, Role } from '../records.ts';
import type { RecordFilter, RecordRow } from '../storage/records.ts';

/** LiveTails that may be open at once, of all and of one user: nobody keeps the others from looking on. */
const MAX_TAILS = 100;
const MAX_TAILS_OF_USER = 20;
/** Of all tails, those that only admins and viewers may open: other users cannot keep them from looking. */
const RESERVED_TAILS = 20;
/** How often tails are looked after, in milliseconds. */
const TICK = 250;
/** Records that a tail is sent between two ticks, at most: more than anyone reads on a screen. */
const RECORDS_PER_TICK = 100;
/** At least one heartbeat in this time, in milliseconds: proxies close connections on which no byte moves. */
const MAX_HEARTBEAT_INTERVAL = 10_000;
/**
 * What may wait for a client that does not read, in bytes, beside what the system's sockets hold: room for the
 * records of a tick at their usual size. The record that goes over it is the last one taken.
 */
const BUFFER_BYTES = 256 * 1024;

/** Which records a tail is sent. */
export type TailFilter = Omit<RecordFilter, 'from' | 'to'>;

/**
 * The records as they are stored, for whoever looks on: as streams of server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 * A stream begins with `open`. Each `record` has the record's id, and as data its JSON, as everywhere.
 * `skipped` tells how many records were left out at this place, since they came too fast or the client reads
 * too slowly. `expired` is the last event once the token has expired.
 */
export interface LiveTails {
  /**
   * Opens a tail. Every record that is published from now on, and passes, is sent or counted as skipped.
   *
   * @param viewer who looks on, and until when, in milliseconds since 1970
   * @throws {ApiError} `queries_overloaded` beyond {@link MAX_TAILS} and {@link MAX_TAILS_OF_USER}, `shutting_down` after
   *   {@link close}
   */
  open(kind: Kind, filter: TailFilter, viewer: Viewer): ReadableStream<Uint8Array>;
  /** Sends records to the tails that they pass. They must be on the disk. Costs nothing when nobody looks on. */
  publish(records: readonly LogRecord[]): void;
  /** How many tails are open. */
  count(): number;
  /** Ends all tails, and opens no more. */
  close(): void;
}

/** Whose tail it is. */
interface Viewer {
  readonly userId: string;
  readonly role: Role;
  /** When the viewer's token expires, in milliseconds since 1970. */
  readonly expiresAt: number;
}

interface Tail {
  readonly kind: Kind;
  readonly filter: TailFilter;
  readonly viewer: Viewer;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  /** Records that it may be sent before the next tick. */
  left: number;
  /** Records left out since the last one that was sent. */
  skipped: number;
}

/** @param now the clock, in milliseconds since 1970 */
export function createLiveTails(now: () => number, idleTimeoutSeconds: number): LiveTails {
  // three in the time after which Bun closes a connection
  const heartbeatInterval = Math.min(MAX_HEARTBEAT_INTERVAL, (idleTimeoutSeconds * 1000) / 3);
  const ticksPerHeartbeat = Math.max(1, Math.floor(heartbeatInterval / TICK));
  const tails = new Set<Tail>();
  let ticking: ReturnType<typeof setInterval> | undefined;
  let ticks = 0;
  let closed = false;

  function add(tail: Tail): void {
    tails.add(tail);
    ticking ??= setInterval(tick, TICK);
    send(tail, OPEN);
  }

  function remove(tail: Tail): void {
    tails.delete(tail);
    if (tails.size > 0) return;
    clearInterval(ticking);
    ticking = undefined;
  }

  function send(tail: Tail, event: Uint8Array): void {
    try {
      tail.controller.enqueue(event);
    } catch {
      remove(tail); // its client has just gone
    }
  }

  /** Says what was left out, once there is room for records again: so it stands where they are missing. */
  function tellSkipped(tail: Tail): void {
    if (tail.skipped === 0) return;
    send(tail, eventOf('skipped', `{"records":${tail.skipped}}`));
    tail.skipped = 0;
  }

  function end(tail: Tail): void {
    remove(tail);
    try {
      tail.controller.close();
    } catch {
      // its client has just gone
    }
  }

  function endExpired(): void {
    const time = now();
    for (const tail of tails) {
      if (time < tail.viewer.expiresAt) continue;
      tellSkipped(tail);
      send(tail, EXPIRED);
      end(tail);
    }
  }

  function tick(): void {
    endExpired();
    const isHeartbeat = ++ticks % ticksPerHeartbeat === 0;
    for (const tail of tails) {
      tail.left = RECORDS_PER_TICK;
      // to a full one nothing is sent: when that lasts, Bun's idle timeout closes its connection
      if (isFull(tail)) continue;
      tellSkipped(tail);
      if (isHeartbeat) send(tail, HEARTBEAT);
    }
  }

  return {
    open(kind, filter, viewer) {
      if (closed) throw new ApiError('shutting_down');
      const others = viewer.role === 'user' ? RESERVED_TAILS : 0;
      if (tails.size >= MAX_TAILS - others) {
        throw new ApiError('queries_overloaded', {
          message: `This server has ${tails.size} live tails open, its limit.`,
        });
      }
      const own = [...tails].filter((tail) => tail.viewer.userId === viewer.userId).length;
      if (own >= MAX_TAILS_OF_USER) {
        throw new ApiError('queries_overloaded', {
          message: `This user has ${MAX_TAILS_OF_USER} live tails open, the limit.`,
        });
      }
      let tail: Tail;
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            tail = { kind, filter, viewer, controller, left: RECORDS_PER_TICK, skipped: 0 };
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
        let event: Uint8Array | undefined; // made once for all who get it, and not for nobody
        for (const tail of tails) {
          if (tail.kind !== record.kind || !passes(row, tail.filter)) continue;
          if (tail.left === 0 || tail.skipped > 0 || isFull(tail)) {
            tail.skipped++;
            continue;
          }
          tail.left--;
          event ??= eventOf('record', recordJson(record.kind, row), row.id);
          send(tail, event);
        }
      }
    },
    count: () => tails.size,
    close() {
      closed = true;
      for (const tail of tails) {
        tellSkipped(tail);
        end(tail);
      }
    },
  };
}

function passes(row: RecordRow, { user, name, label }: TailFilter): boolean {
  return (
    (user === undefined || row.user_id === user) &&
    (name === undefined || row.name === name) &&
    (label === undefined || row.label === label)
  );
}

function isFull({ controller }: Tail): boolean {
  return (controller.desiredSize ?? 0) <= 0;
}

const encoder = new TextEncoder();

/** @param data JSON, which has no line breaks of its own */
function eventOf(name: string, data: string, id?: string): Uint8Array {
  return encoder.encode(`${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${data}\n\n`);
}

// events without data would not be handed on by readers
const OPEN = eventOf('open', '{}');
const EXPIRED = eventOf('expired', '{}');
const HEARTBEAT = encoder.encode(': heartbeat\n\n');
