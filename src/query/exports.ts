import { ApiError } from '../errors.ts';
import type { ExportQuery } from '../export/export.ts';
import { ClientDisconnectedError, type QueryCaller } from './caller.ts';
import type { Task } from './worker.ts';

/**
 * Exports that may be open at once, of all users and of one. Each holds a part, for Parquet a row group, and what its
 * socket takes.
 */
const MAX_EXPORTS = 32;
const MAX_EXPORTS_OF_USER = 8;
/** Bytes that are handed to the response at once: a slow client shows its progress by them. */
const PIECE_BYTES = 64 * 1024;
/** How often exports are looked at that nobody reads, in milliseconds. */
const STALL_CHECK = 1_000;

type Run = (task: Task, caller: QueryCaller) => Promise<{ value: unknown }>;

interface OpenExport {
  readonly userId: string;
  /**
   * Since when the client has had something to take, on the monotonic clock, in milliseconds; undefined while the
   * worker is asked for more.
   */
  offeredAt: number | undefined;
  readonly abort: (error: unknown) => void;
}

/** Gives the memory of a part back at once: the garbage collector lets about 50 MB of them gather first. */
function release(part: Uint8Array<ArrayBuffer>): void {
  part.buffer.transfer(0);
}

/** The client has taken nothing for the idle timeout. */
class Stalled extends Error {
  override readonly name = 'Stalled';

  constructor() {
    super('the client has stopped reading');
  }
}

/** The exports that are open, as streams. */
export interface Exports {
  /** Opens an export and reads its first part, so that what fails at once fails here. */
  open(
    query: ExportQuery,
    caller: QueryCaller,
    onBroken: (error: unknown) => void,
  ): Promise<ReadableStream<Uint8Array>>;
  /** Breaks all exports off. */
  close(): void;
}

/**
 * Makes the streams of exports. A part is asked for when the one before has been taken, in the user's turn.
 *
 * @param inTurn runs a task of the worker when it is the user's turn
 * @param post runs one at once
 * @param idleTimeoutMs after how long an export that nobody reads is broken off, in milliseconds
 */
export function createExports(inTurn: Run, post: (task: Task) => Promise<unknown>, idleTimeoutMs: number): Exports {
  const exports = new Map<number, OpenExport>();
  let lastExport = 0;
  let checking: ReturnType<typeof setInterval> | undefined;

  function add(id: number, one: OpenExport): void {
    exports.set(id, one);
    checking ??= setInterval(abortStalled, STALL_CHECK);
  }

  function remove(id: number): void {
    exports.delete(id);
    if (exports.size > 0) return;
    clearInterval(checking);
    checking = undefined;
  }

  function abortStalled(): void {
    const now = performance.now();
    for (const { offeredAt, abort } of exports.values()) {
      if (offeredAt !== undefined && now - offeredAt >= idleTimeoutMs) abort(new Stalled());
    }
  }

  /** Returns the next part; undefined once the export is complete. */
  async function nextPart(id: number, caller: QueryCaller): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (;;) {
      const { value } = await inTurn({ do: 'next-part', export: id }, caller);
      const part = value as Uint8Array<ArrayBuffer> | undefined; // what the engine's exports return
      // empty: the worker has looked at many rows of which none passes the filter
      if (part === undefined || part.length > 0) return part;
    }
  }

  return {
    async open(query, caller, onBroken) {
      const own = [...exports.values()].filter(({ userId }) => userId === caller.userId).length;
      if (exports.size >= MAX_EXPORTS || own >= MAX_EXPORTS_OF_USER) throw new ApiError('queries_overloaded');
      const id = ++lastExport;
      let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
      const close = () => {
        if (!exports.has(id)) return;
        remove(id);
        post({ do: 'close-export', export: id }).catch(() => {
          // the worker has ended, and the export with it
        });
      };
      const one: OpenExport = {
        userId: caller.userId,
        offeredAt: undefined,
        abort(error) {
          if (!exports.has(id)) return;
          close();
          if (!(error instanceof ClientDisconnectedError)) onBroken(error);
          controller?.error(error);
        },
      };
      add(id, one);
      let part: Uint8Array<ArrayBuffer> | undefined;
      try {
        await inTurn({ do: 'open-export', export: id, query }, caller);
        part = await nextPart(id, caller);
        if (!exports.has(id)) throw new ApiError('shutting_down');
      } catch (error) {
        close();
        throw error;
      }
      return new ReadableStream<Uint8Array>(
        {
          start(started) {
            controller = started;
          },
          async pull(pulling) {
            one.offeredAt = undefined;
            try {
              if (part?.length === 0) {
                release(part);
                part = await nextPart(id, caller);
              }
              if (!exports.has(id)) return; // broken off meanwhile
              if (part === undefined) {
                remove(id);
                pulling.close();
                return;
              }
              // a copy, so that the part can be released
              pulling.enqueue(part.slice(0, PIECE_BYTES));
              part = part.subarray(PIECE_BYTES);
              one.offeredAt = performance.now();
            } catch (error) {
              one.abort(error);
            }
          },
          cancel: close,
        },
        new ByteLengthQueuingStrategy({ highWaterMark: PIECE_BYTES }),
      );
    },
    close() {
      for (const { abort } of exports.values()) abort(new ApiError('shutting_down'));
    },
  };
}
