/** The state of a sink, as the forwarder reports it. */
export interface SinkStatus {
  /** The sink's URL without credentials. */
  readonly name: string;
  /** `failing`: the last attempt failed, and the next one waits. */
  readonly state: 'delivering' | 'failing';
  /** Why it is failing, for the operator; undefined if it is not. */
  readonly reason: string | undefined;
  /** Rows that were neither delivered nor set aside. Counted up to {@link MAX_LAG_ROWS}. */
  readonly lagRows: number;
  /** Time since the oldest of them was received, in seconds, without imported rows with old keys. */
  readonly lagSeconds: number;
  readonly deadLetters: number;
  readonly postponed: number;
  readonly pendingErasures: number;
  /** Rows that retention deleted before they were delivered. */
  readonly skipped: number;
  /** All rows up to these keys were delivered or set aside. */
  readonly cursors: { readonly metric: number; readonly analytics: number };
  /** All imported rows up to this key of `imported_rows` were delivered. */
  readonly importId: number;
}

/** Largest lag that is counted, in rows. */
export const MAX_LAG_ROWS = 10_000_000;
