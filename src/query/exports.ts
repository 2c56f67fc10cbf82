import { ApiError } from '../errors.ts';
import type { ExportQuery } from '../export/export.ts';
import { ClientDisconnectedError, type QueryCaller } from './caller.ts';
import type { Task } from './worker.ts';

/**
 * Limits on open exports, in total and per user. Each export keeps two parts, its socket buffers and, for Parquet, a row
 * group in memory.
 */
const MAX_EXPORTS = 32;
const MAX_EXPORTS_PER_USER = 8;
/** Exports reserved for callers that may read all rows. */
const RESERVED_EXPORTS = 8;
/** Bytes passed to the response at once. */
const PIECE_BYTES = 64 * 1024;
/** Interval of the check for stalled exports, in milliseconds. */
const STALL_CHECK_INTERVAL_MS = 1_000;
/** How often per idle timeout the check looks at a connection that takes no new piece, at most. */
const LOOKS_PER_TIMEOUT = 16;

type Run = (task: Task, caller: QueryCaller) => Promise<{ value: unknown }>;

interface OpenExport {
  readonly userId: string;
  /** The current piece's wait for the client; undefined while the next one is being read. */
  wait: Wait | undefined;
  readonly unsentBytes: UnsentBytes;
  readonly abort: (error: unknown) => void;
}

/** A wait for a client to read. Times are on the monotonic clock, in milliseconds. */
interface Wait {
  /** When bytes were last seen to move. */
  movedAtMs: number;
  /** When the connection was last looked at. */
  lookedAtMs: number;
  /** The unsent bytes at that time, if they are known. */
  unsent: number | undefined;
}

/**
 * Returns the number of bytes that wait in the buffers of a connection, which shows the progress of a client that takes no
 * new piece yet: these buffers hold megabytes. Undefined if it is unknown.
 */
export type UnsentBytes = () => Promise<number | undefined>;

/** Frees the memory of a part immediately. Otherwise about 50 MB of parts accumulate before they are collected. */
function release(part: Uint8Array<ArrayBuffer>): void {
  part.buffer.transfer(0);
}

/** The error of an export whose client has read nothing for the idle timeout. */
class ExportStalledError extends Error {
  override readonly name = 'ExportStalledError';

  constructor() {
    super('the client has stopped reading');
  }
}

/** The open exports. */
export interface Exports {
  /** Opens an export and reads its first part, so that early errors are thrown here and not in the stream. */
  open(
    query: ExportQuery,
    caller: QueryCaller,
    onBroken: (error: unknown) => void,
    unsentBytes?: UnsentBytes,
  ): Promise<ReadableStream<Uint8Array>>;
  /** Aborts all exports. */
  close(): void;
}

/**
 * Creates export streams. The worker encodes a part, when it is the user's turn, while the client reads the previous one.
 *
 * @param inTurn runs a worker task when it is the user's turn
 * @param post runs a worker task immediately
 * @param idleTimeoutMs how long a client may stop reading before its export is aborted, in milliseconds
 */
export function createExports(inTurn: Run, post: (task: Task) => Promise<unknown>, idleTimeoutMs: number): Exports {
  const exports = new Map<number, OpenExport>();
  let lastExport = 0;
  let stallTimer: ReturnType<typeof setInterval> | undefined;

  function add(id: number, openExport: OpenExport): void {
    exports.set(id, openExport);
    stallTimer ??= setInterval(abortStalled, STALL_CHECK_INTERVAL_MS);
  }

  function remove(id: number): void {
    exports.delete(id);
    if (exports.size > 0) return;
    clearInterval(stallTimer);
    stallTimer = undefined;
  }

  function abortStalled(): void {
    for (const openExport of exports.values()) void abortIfStalled(openExport);
  }

  /** Aborts an export if no byte has moved for the idle timeout. */
  async function abortIfStalled(openExport: OpenExport): Promise<void> {
    const { wait } = openExport;
    if (!wait || performance.now() - wait.lookedAtMs < idleTimeoutMs / LOOKS_PER_TIMEOUT) return;
    wait.lookedAtMs = performance.now();
    const unsent = await openExport.unsentBytes();
    if (unsent !== wait.unsent) {
      wait.unsent = unsent;
      wait.movedAtMs = performance.now();
    }
    const isStalled = openExport.wait === wait && performance.now() - wait.movedAtMs >= idleTimeoutMs;
    if (isStalled) openExport.abort(new ExportStalledError());
  }

  /** Returns the next part; undefined once the export is complete. */
  async function nextPart(id: number, caller: QueryCaller): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (;;) {
      const { value } = await inTurn({ do: 'next-part', export: id }, caller);
      const part = value as Uint8Array<ArrayBuffer> | undefined; // the return type of the engine's exports
      // an empty part: the worker has scanned many rows, and none matches the filter
      if (part === undefined || part.length > 0) return part;
    }
  }

  return {
    async open(query, caller, onBroken, unsentBytes = async () => undefined) {
      const exportsOfUser = [...exports.values()].filter(({ userId }) => userId === caller.userId).length;
      const places = caller.canReadAll ? MAX_EXPORTS : MAX_EXPORTS - RESERVED_EXPORTS;
      if (exports.size >= places || exportsOfUser >= MAX_EXPORTS_PER_USER) throw new ApiError('queries_overloaded');
      const id = ++lastExport;
      let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
      let part: Uint8Array<ArrayBuffer> | undefined;
      /** The part after it, which is encoded while the client reads. */
      let following: ReturnType<typeof nextPart> | undefined;
      const close = () => {
        if (!exports.has(id)) return;
        remove(id);
        following?.then(
          (next) => next && release(next),
          () => {}, // the export has ended
        );
        post({ do: 'close-export', export: id }).catch(() => {
          // the worker has exited, which also ended the export
        });
      };
      const openExport: OpenExport = {
        userId: caller.userId,
        wait: undefined,
        unsentBytes,
        abort(error) {
          if (!exports.has(id)) return;
          close();
          if (!(error instanceof ClientDisconnectedError)) onBroken(error);
          controller?.error(error);
        },
      };
      add(id, openExport);
      const advance = async () => {
        part = await (following ?? nextPart(id, caller));
        following = part === undefined ? undefined : nextPart(id, caller);
        following?.catch(() => {}); // reported once the client has read the current part
      };
      try {
        await inTurn({ do: 'open-export', export: id, query }, caller);
        await advance();
        if (!exports.has(id)) throw new ApiError('shutting_down');
      } catch (error) {
        close();
        throw error;
      }
      return new ReadableStream<Uint8Array>(
        {
          start(streamController) {
            controller = streamController;
          },
          async pull(streamController) {
            openExport.wait = undefined;
            try {
              if (part?.length === 0) {
                release(part);
                await advance();
              }
              if (!exports.has(id)) return; // aborted in the meantime
              if (part === undefined) {
                remove(id);
                streamController.close();
                return;
              }
              // a copy, so that the part can be released
              streamController.enqueue(part.slice(0, PIECE_BYTES));
              part = part.subarray(PIECE_BYTES);
              const now = performance.now();
              openExport.wait = { movedAtMs: now, lookedAtMs: now, unsent: undefined };
            } catch (error) {
              openExport.abort(error);
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
