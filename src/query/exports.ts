import { Failure } from '../errors.ts';
import type { ExportQuery } from '../export/export.ts';
import { type Asker, ClientGone } from './asker.ts';
import type { Task } from './worker.ts';

/** Exports that may be open at once, of all users and of one. Each holds up to 1 MB, and what its socket takes. */
const MAX_EXPORTS = 32;
const MAX_EXPORTS_OF_USER = 8;
/** Bytes that are handed to the response at once: a slow client shows its progress by them. */
const PIECE_BYTES = 64 * 1024;
/** How often exports are looked at that nobody reads, in milliseconds. */
const STALL_CHECK = 1_000;

type Run = (task: Task, asker: Asker) => Promise<{ value: unknown }>;

interface OpenExport {
  readonly userId: string;
  /** When the client last took something, on the monotonic clock, in milliseconds. */
  takenAt: number;
  readonly breakOff: (error: unknown) => void;
}

/** The exports that are open, as streams. */
export interface Exports {
  open(query: ExportQuery, asker: Asker, onBroken: (error: unknown) => void): Promise<ReadableStream<Uint8Array>>;
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
    checking ??= setInterval(breakOffStalled, STALL_CHECK);
  }

  function remove(id: number): void {
    exports.delete(id);
    if (exports.size > 0) return;
    clearInterval(checking);
    checking = undefined;
  }

  function breakOffStalled(): void {
    const now = performance.now();
    for (const { takenAt, breakOff } of exports.values()) {
      if (now - takenAt >= idleTimeoutMs) breakOff(new Error('the client has stopped reading'));
    }
  }

  return {
    async open(query, asker, onBroken) {
      const own = [...exports.values()].filter(({ userId }) => userId === asker.userId).length;
      if (exports.size >= MAX_EXPORTS || own >= MAX_EXPORTS_OF_USER) throw new Failure('queries_overloaded');
      const id = ++lastExport;
      let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
      const close = () => {
        remove(id);
        post({ do: 'close-export', export: id }).catch(() => {
          // the worker has ended, and the export with it
        });
      };
      const one: OpenExport = {
        userId: asker.userId,
        takenAt: performance.now(),
        breakOff(error) {
          if (!exports.has(id)) return;
          close();
          if (!(error instanceof ClientGone)) onBroken(error);
          controller?.error(error);
        },
      };
      add(id, one);
      try {
        await inTurn({ do: 'open-export', export: id, query }, asker);
      } catch (error) {
        remove(id);
        throw error;
      }
      let part = new Uint8Array(0);
      return new ReadableStream<Uint8Array>(
        {
          start(started) {
            controller = started;
          },
          async pull(pulling) {
            one.takenAt = performance.now();
            try {
              if (part.length === 0) {
                const { value } = await inTurn({ do: 'next-part', export: id }, asker);
                if (!exports.has(id)) return; // broken off meanwhile
                if (value === undefined) {
                  remove(id);
                  pulling.close();
                  return;
                }
                part = value as Uint8Array<ArrayBuffer>; // what the engine's exports return
              }
              pulling.enqueue(part.subarray(0, PIECE_BYTES));
              part = part.subarray(PIECE_BYTES);
            } catch (error) {
              one.breakOff(error);
            }
          },
          cancel: close,
        },
        new ByteLengthQueuingStrategy({ highWaterMark: PIECE_BYTES }),
      );
    },
    close() {
      for (const { breakOff } of exports.values()) breakOff(new Failure('shutting_down'));
    },
  };
}
