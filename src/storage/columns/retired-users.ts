import type { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../../records.ts';
import type { Job, Transact } from '../job.ts';
import type { Dictionary } from './dictionary.ts';
import type { Memtable } from './memtable.ts';
import type { PropertyStore } from './property-store.ts';
import type { StoreParts } from './store-parts.ts';
import type { UserLookup } from './user-lookup.ts';
import type { UserRows } from './user-rows.ts';
import type { Watermarks } from './watermarks.ts';

/** Names in `column_state`: up to which `seq` the index lists the rows of all users whose erasure has begun. */
export const LISTED: Readonly<Record<Kind, string>> = {
  metric: 'erasures_listed_metric',
  analytics: 'erasures_listed_analytics',
};

/** A user whose rows are being erased. The column store ignores the user's rows up to the cutoff. */
export interface ErasedUser {
  readonly userId: string;
  readonly cutoffSeq: number;
}

/** A user whose rows in sealed chunks are to be removed. */
export interface RetiredUser {
  /** The user's number in sealed chunks; null if there are no such rows. */
  readonly number: number | null;
  /** Every row up to this `seq` has been applied. */
  readonly cutoffSeq: number;
}

/**
 * The users whose erasure has begun and is not finished. A retired user is not found by user ID any more, and the rows up to
 * the cutoff are ignored if they are applied again; those in sealed chunks remain until they are removed.
 */
export class RetiredUsers {
  readonly #transact: Transact;
  readonly #memtable: Memtable;
  readonly #properties: PropertyStore;
  readonly #users: Dictionary;
  readonly #userRows: UserRows;
  readonly #watermarks: Watermarks;
  readonly #lookup: UserLookup;
  readonly #statements: ReturnType<typeof prepare>;
  #erased: readonly ErasedUser[] = [];

  constructor(client: Database, parts: StoreParts, lookup: UserLookup) {
    this.#transact = parts.transact;
    this.#memtable = parts.memtable;
    this.#properties = parts.properties;
    this.#users = parts.users;
    this.#userRows = parts.userRows;
    this.#watermarks = parts.watermarks;
    this.#lookup = lookup;
    this.#statements = prepare(client);
  }

  /** Drops all in-memory state and reloads it from the database. Reload the dictionary of users first. */
  reload(): void {
    const unfinished = this.#statements.erased.all();
    this.#erased = unfinished;
    this.#users.retire(unfinished.flatMap(({ userNumber }) => userNumber ?? []));
  }

  /** The users and the cutoffs of their erasures. */
  get erased(): readonly ErasedUser[] {
    return this.#erased;
  }

  /**
   * Begins an erasure: drops the user's rows from the memtable, and ignores them if they are applied again. New rows of the
   * user get a new number.
   *
   * @param record writes the erasure to the database. Called in a transaction
   * @param cutoffSeq the `seq` up to which rows are erased; by default, all applied rows
   */
  retire(
    userId: string,
    record: (retired: RetiredUser) => void,
    cutoffSeq = Math.max(...KINDS.map((kind) => this.#watermarks.applied[kind])),
  ): RetiredUser {
    const found = this.#users.find(userId);
    const number = found !== undefined && this.#users.isWritten(found) ? found : null;
    const retired = { number, cutoffSeq };
    this.#transact(() => {
      record(retired);
      this.#recordListed();
    });
    this.#erased = [...this.#erased, { userId, cutoffSeq: retired.cutoffSeq }];
    if (found !== undefined) {
      this.#memtable.dropUser(found);
      this.#properties.memtableChanged();
      this.#users.retire([found]);
    }
    return retired;
  }

  /**
   * Records, in the caller's transaction, up to which `seq` the index lists the rows of the user whose erasure begins: later
   * rows leave the memtable without being indexed. Nothing is recorded if that is unknown for an earlier erasure.
   */
  #recordListed(): void {
    for (const kind of KINDS) {
      const recorded = this.#listedTo(kind);
      if (recorded === undefined && this.#erased.length > 0) continue;
      const listedTo = Math.min(recorded ?? Number.POSITIVE_INFINITY, this.#lookup.indexedTo(kind));
      this.#statements.setState.run(LISTED[kind], listedTo);
    }
  }

  #listedTo(kind: Kind): number | undefined {
    return this.#statements.state.get(LISTED[kind])?.value;
  }

  /**
   * Returns the `seq`s of a retired user's rows, ascending, up to the `seq` `to`; undefined if they are not listed, as after
   * a rebuild.
   *
   * @param user the user's number; null if no row was sealed
   */
  seqsOf(kind: Kind, user: number | null): { seqs: Float64Array; to: number } | undefined {
    const to = this.#listedTo(kind);
    if (this.#watermarks.isRebuilding || to === undefined) return undefined;
    return { seqs: user === null ? new Float64Array(0) : this.#userRows.seqsOf(kind, user), to };
  }

  /** Ends the erasure of a user after all rows are removed: blanks the user ID. */
  *remove({ userId, cutoffSeq }: ErasedUser, user: number | null): Job<void> {
    if (user !== null) {
      yield* this.#userRows.removeUser(user);
      yield* this.#users.blank([user]);
    }
    this.#erased = this.#erased.filter((erased) => erased.userId !== userId || erased.cutoffSeq !== cutoffSeq);
  }

  /** Deletes, in the caller's transaction, what was recorded when erasures began. All must have ended. */
  endAll(): void {
    for (const kind of KINDS) this.#statements.removeState.run(LISTED[kind]);
  }
}

function prepare(client: Database) {
  return {
    state: client.prepare<{ value: number }, [string]>('SELECT value FROM column_state WHERE name = ?'),
    setState: client.prepare('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)'),
    removeState: client.prepare('DELETE FROM column_state WHERE name = ?'),
    erased: client.prepare<ErasedUser & { userNumber: number | null }, []>(
      `SELECT pending_user_id AS userId, cutoff_seq AS cutoffSeq, user_number AS userNumber
       FROM erasures WHERE pending_user_id IS NOT NULL`,
    ),
  };
}
