import type { Kind, LogRecord } from '../records.ts';

/*
 * What the forwarder and the engines behind it agree on. The forwarder reads blocks of the log in commit order behind a
 * durable cursor; a sink stores them in one engine. Delivery is at-least-once: after a crash or an error, the same rows
 * arrive again, possibly cut into other blocks. A sink must make that harmless with the IDs of the rows.
 */

/** Rows of one kind in commit order. */
export interface Block {
  readonly kind: Kind;
  /** The node that recorded the rows (NODE_ID). */
  readonly node: string;
  /** At least one. Their `seq` increases strictly. */
  readonly records: readonly LogRecord[];
}

/** A row that a sink did not store, and why. The reason contains no value of the row, of a user, or of a credential. */
export interface RefusedRow {
  readonly id: string;
  readonly seq: number;
  readonly reason: string;
}

/** What became of a block. Every row that is in neither list is stored durably. */
export interface Outcome {
  /** Rows that the engine will never accept. They go to the dead-letter list. */
  readonly rejected: readonly RefusedRow[];
  /** Rows that the engine does not accept yet, such as rows of a user it does not know. They are delivered again later. */
  readonly postponed: readonly RefusedRow[];
}

/** Rows to erase: those of a user with a `seq` up to the cutoff. */
export interface SinkErasure {
  readonly userId: string;
  readonly cutoffSeq: number;
  /** The newest ID that is erased, as text: UUIDv7 sort as `seq`. */
  readonly cutoffId: string;
}

/**
 * The engine cannot be used as it is configured: a table with other columns, wrong credentials. The message is written
 * for the operator and contains no credential. The forwarder reports it and tries again at its longest interval.
 */
export class SinkConfigurationError extends Error {
  override readonly name = 'SinkConfigurationError';
}

/**
 * The engine cannot be used at the moment. Unlike that of other errors, the message is written for the operator: it is
 * logged and reported. It contains no credential and no value of a row.
 */
export class SinkUnavailableError extends Error {
  override readonly name = 'SinkUnavailableError';
}

/** How large a sink prefers its blocks. A block is delivered when one of the limits is reached. */
export interface SinkLimits {
  readonly rows: number;
  /** Bytes of the texts of the rows. */
  readonly bytes: number;
  /** Time since the first row of the block was recorded, in milliseconds. */
  readonly intervalMs: number;
}

/**
 * An engine that stores blocks. Each function rejects if the engine is down, slow, full, read-only or returns nonsense;
 * the forwarder then calls it again with back-off. All calls of a sink are made one after another.
 */
export interface Sink {
  /** How the sink prefers its blocks. Default: small blocks, within a second. */
  readonly limits?: SinkLimits;
  /** Connects, and creates what is missing. Called before the first block, and again after an error. */
  prepare(signal: AbortSignal): Promise<void>;
  /** Stores a block. Resolves once the engine has made it durable. */
  deliver(block: Block, signal: AbortSignal): Promise<Outcome>;
  /** Erases rows. Resolves once queries of the engine no longer return them. */
  erase(erasure: SinkErasure, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** What a sink is created with. */
export interface SinkOptions {
  /** The sink's URL from FORWARD_URL, credentials included. */
  readonly url: URL;
  /** NODE_ID, or the generated ID of this node. */
  readonly node: string;
  /** Called with what the operator should know of the engine, without credentials, every time that it matters. */
  readonly onWarning?: (warning: string) => void;
}
