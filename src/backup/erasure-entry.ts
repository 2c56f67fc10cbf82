import { createHash } from 'node:crypto';
import type { ListedErasure } from '../storage/erasure-list.ts';

/*
 * The entries of the erasure log, which are lines of a file or objects in S3. An entry consists of the beginning of its
 * SHA-256 and of a JSON object. It contains keyed hashes, not user IDs.
 */

/** Hexadecimal digits of the checksum of an entry. */
const CHECKSUM_DIGITS = 16;

/** A logged erasure. */
export interface LoggedErasure extends Omit<ListedErasure, 'id'> {
  /** The fingerprint of the key that hashed the user ID. */
  readonly key: string;
}

/** The content of an erasure log. */
export interface ErasureLogContent {
  readonly erasures: readonly LoggedErasure[];
  /** Number of damaged entries: each may have been an erasure. */
  readonly damaged: number;
}

/** Copies the erasure list of a database to the erasure log. */
export interface ErasureLog {
  /**
   * Adds the erasures that are not in the log yet. They are durable when the promise resolves. Calls run one after
   * another, and nothing blocks the event loop.
   *
   * @throws {Error} as a rejection, if the log cannot be written. It may be pending for as long as the log does not respond
   */
  update(): Promise<void>;
}

/**
 * Creates an erasure log from a function that adds what is missing, so that it never runs twice at once: calls wait for the
 * one that runs, and then share another one.
 */
export function createErasureLog(run: () => Promise<void>): ErasureLog {
  let running: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;

  function start(): Promise<void> {
    running = run().finally(() => {
      running = undefined;
    });
    return running;
  }

  return {
    update() {
      if (!running) return start();
      // the running update may have read the list already; one more serves all calls that wait
      waiting ??= running
        .catch(() => {})
        .then(() => {
          waiting = undefined;
          return start();
        });
      return waiting;
    },
  };
}

/** Encodes an entry, without the end of its line. */
export function encodeErasure({ userHash, cutoffSeq, requestedAt, key }: LoggedErasure): string {
  const json = JSON.stringify({
    user: Buffer.from(userHash).toString('base64url'),
    cutoff: cutoffSeq,
    at: new Date(requestedAt).toISOString(),
    key,
  });
  return `${checksumOf(json)} ${json}`;
}

/** Parses an entry; returns undefined if it is damaged. */
export function parseErasure(text: string): LoggedErasure | undefined {
  const json = text.slice(CHECKSUM_DIGITS + 1);
  if (text !== `${checksumOf(json)} ${json}`) return undefined;
  const { user, cutoff, at, key } = JSON.parse(json) as { user: string; cutoff: number; at: string; key: string }; // from encodeErasure
  return { userHash: Buffer.from(user, 'base64url'), cutoffSeq: cutoff, requestedAt: Date.parse(at), key };
}

/** Returns what identifies an erasure: the hash of the user in hexadecimal digits, and the last row that was erased. */
export function identityOf({ userHash, cutoffSeq }: Omit<LoggedErasure, 'key'>): string {
  return `${Buffer.from(userHash).toString('hex')}-${cutoffSeq}`;
}

function checksumOf(json: string): string {
  return createHash('sha256').update(json).digest('hex').slice(0, CHECKSUM_DIGITS);
}
