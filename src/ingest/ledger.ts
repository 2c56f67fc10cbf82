import type { ErrorCode } from '../errors.ts';
import { type Count, DELETED, DUPLICATE, REJECTED, STORED } from '../storage/ledger.ts';

/** The outcomes of all items received since the database was created. */
export interface LedgerCounts {
  readonly received: number;
  readonly stored: number;
  readonly duplicates: number;
  /** Stored rows that have since been erased or deleted: rows present = stored − deleted. */
  readonly deleted: number;
  readonly rejected: Readonly<Record<string, number>>;
}

/**
 * Counts every item once: as stored, as a duplicate of a stored item, or as rejected with an error code. `received` is
 * the sum of these, so the ledger always balances: items in progress are not counted yet. A request whose items cannot
 * be counted counts as one item.
 *
 * Stored items are counted in the transaction that stores them. Duplicates and rejections are written with the next
 * commit, which the server makes at least every 5 seconds, so a crash can lose the latest of them; `received` then omits
 * them too.
 */
export interface Ledger {
  stored(items: number): void;
  /** Sets the number of deleted rows to the one in the database, where the transactions that delete rows count them. */
  setDeleted(items: number): void;
  duplicate(items: number): void;
  reject(code: ErrorCode, items: number): void;
  counts(): LedgerCounts;
  hasUnwritten(): boolean;
  /** Returns and clears the unwritten counts. If they cannot be written, {@link putBack} restores them. */
  takeUnwritten(): Count[];
  putBack(entries: readonly Count[]): void;
}

/**
 * Creates a ledger.
 *
 * @param written the counts in the database
 */
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
    setDeleted: (items) => void counts.set(DELETED, items),
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
    hasUnwritten: () => unwritten.size > 0,
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
