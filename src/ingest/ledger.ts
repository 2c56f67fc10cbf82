import type { ErrorCode } from '../errors.ts';
import { type Count, DELETED, DUPLICATE, REJECTED, STORED } from '../storage/ledger.ts';

/** What became of everything that was received, since the database was made. */
export interface LedgerCounts {
  readonly received: number;
  readonly stored: number;
  readonly duplicates: number;
  /** Stored rows that were erased or deleted since: rows present = stored − deleted. */
  readonly deleted: number;
  readonly rejected: Readonly<Record<string, number>>;
}

/**
 * Counts every item once: as stored, as a duplicate of one that is, or as rejected, by error code.
 * `received` is their sum, so that the ledger balances at every moment: what is still under way has not
 * been counted as received yet. A request whose items nobody could count is one item.
 *
 * What is stored is counted in the transaction that stores it. Duplicates and rejections are written
 * with the next commit, and at the end: a crash can lose the last of them, and then their receipt too.
 */
export interface Ledger {
  stored(items: number): void;
  /** Counts rows that were deleted; the transaction that deleted them has written the count. */
  deleted(items: number): void;
  duplicate(items: number): void;
  reject(code: ErrorCode, items: number): void;
  counts(): LedgerCounts;
  /** Hands over what is not written yet; {@link putBack} it when it could not be. */
  takeUnwritten(): Count[];
  putBack(entries: readonly Count[]): void;
}

/** @param written the counts of the database */
export function createLedger(written: readonly Count[]): Ledger {
  const counts = new Map<string, number>(written);
  const unwritten = new Map<string, number>();
  const add = (map: Map<string, number>, name: string, items: number) => map.set(name, (map.get(name) ?? 0) + items);
  const count = (name: string, items: number) => {
    add(counts, name, items);
    add(unwritten, name, items);
  };

  return {
    stored: (items) => void add(counts, STORED, items),
    deleted: (items) => void add(counts, DELETED, items),
    duplicate: (items) => count(DUPLICATE, items),
    reject: (code, items) => count(REJECTED + code, items),
    counts() {
      const rejected = [...counts].filter(([name]) => name.startsWith(REJECTED));
      return {
        received: [...counts].reduce((sum, [name, items]) => (name === DELETED ? sum : sum + items), 0),
        stored: counts.get(STORED) ?? 0,
        duplicates: counts.get(DUPLICATE) ?? 0,
        deleted: counts.get(DELETED) ?? 0,
        rejected: Object.fromEntries(rejected.map(([name, items]) => [name.slice(REJECTED.length), items])),
      };
    },
    takeUnwritten() {
      const entries = [...unwritten];
      unwritten.clear();
      return entries;
    },
    putBack(entries) {
      for (const [name, items] of entries) add(unwritten, name, items);
    },
  };
}
