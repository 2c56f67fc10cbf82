import type { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../records.ts';
import { readUserRows } from './columns/user-rows.ts';
import { createBlankTest } from './records.ts';

/** Number of groups of users that are compared separately. */
const GROUPS = 256;
/** Entries that are looked up per statement. */
const LOOKUP_ROWS = 5_000;
/** Modulus of digests: a double represents the sum of two of them exactly. */
const DIGEST_RANGE = 2 ** 52;
/** Maximum number of users whose hashes are kept in memory. */
const MAX_HASHES = 200_000;

/** A digest of rows that does not depend on their order: their number and the sum of their hashes. */
interface Digest {
  rows: number;
  sum: number;
}

/** Compares the index of user rows with the rows. */
export interface UserRowsVerification {
  /** Adds a row that is neither blank nor being erased. */
  addRow(kind: Kind, userId: string, seq: number): void;
  /** Reads the index, and reports the differences. */
  compare(): void;
}

/**
 * Creates the comparison of the index of user rows with the rows: it must list each row once, up to the `seq` to which it is
 * complete. Entries of blank rows are allowed: an interrupted deletion leaves them.
 *
 * @param hash a hash of a user ID, with 53 bits
 * @param userId returns the ID of a user; undefined for a user who is being erased
 * @param sealedTo returns the `seq` up to which all rows are sealed, and so must be listed
 */
export function createUserRowsVerification(
  client: Database,
  hash: (userId: string) => number,
  userId: (user: number) => string | undefined,
  sealedTo: (kind: Kind) => number,
  report: (problem: string) => void,
): UserRowsVerification {
  const { indexedTo, parts } = readUserRows(client);
  const expected = createDigests();
  const hashes = new Map<string, number>();
  const hashOf = (text: string) => {
    let found = hashes.get(text);
    if (found === undefined) {
      if (hashes.size >= MAX_HASHES) hashes.clear();
      found = hash(text);
      hashes.set(text, found);
    }
    return found;
  };

  /** Compares one kind. Reads the index again only if a group differs, to ignore the entries of blank rows. */
  function compareKind(kind: Kind): void {
    const found = createDigests()[kind];
    let isDamaged = false;
    for (const { id, kind: kindOfPart, entries } of parts()) {
      if (kindOfPart !== kind) continue;
      if (!entries) {
        isDamaged = true;
        report(`The checksum of part ${id} of the index of user rows does not match its data. Run "rawlog rebuild".`);
        continue;
      }
      forEachEntry(entries, (text, seq) => add(found, hashOf(text), seq));
    }
    const differ = () => found.map((digest, group) => !isEqual(digest, expected[kind][group] as Digest));
    if (isDamaged || !differ().includes(true)) return;
    subtractBlank(kind, found, differ());
    if (!differ().includes(true)) return;
    const count = (digests: readonly Digest[]) => digests.reduce((sum, { rows }) => sum + rows, 0);
    report(
      `The index of user rows and the ${kind === 'metric' ? 'metrics' : 'events'} differ: ${count(expected[kind])} rows, ${count(found)} in the index. Run "rawlog rebuild".`,
    );
  }

  function forEachEntry(
    { users, seqs }: { users: Uint32Array; seqs: Float64Array },
    visit: (text: string, seq: number) => void,
  ): void {
    for (let i = 0; i < users.length; i++) {
      const text = userId(users[i] as number);
      if (text !== undefined) visit(text, seqs[i] as number);
    }
  }

  /** Subtracts the entries of blank rows from the digests of some groups. */
  function subtractBlank(kind: Kind, found: Digest[], isSearched: readonly boolean[]): void {
    const areBlank = createBlankTest(client, kind);
    for (const { kind: kindOfPart, entries } of parts()) {
      if (kindOfPart !== kind || !entries) continue;
      const hashesOfEntries: number[] = [];
      const seqs: number[] = [];
      forEachEntry(entries, (text, seq) => {
        const value = hashOf(text);
        if (!isSearched[value % GROUPS]) return;
        hashesOfEntries.push(value);
        seqs.push(seq);
      });
      for (let start = 0; start < seqs.length; start += LOOKUP_ROWS) {
        for (const at of areBlank(seqs.slice(start, start + LOOKUP_ROWS))) {
          add(found, hashesOfEntries[start + at] as number, seqs[start + at] as number, -1);
        }
      }
    }
  }

  return {
    addRow(kind, text, seq) {
      if (seq <= indexedTo[kind] || seq <= sealedTo(kind)) add(expected[kind], hashOf(text), seq);
    },
    compare() {
      for (const kind of KINDS) compareKind(kind);
    },
  };
}

function createDigests(): Record<Kind, Digest[]> {
  const digests = () => Array.from({ length: GROUPS }, () => ({ rows: 0, sum: 0 }));
  return { metric: digests(), analytics: digests() };
}

function isEqual(a: Digest, b: Digest): boolean {
  return a.rows === b.rows && a.sum === b.sum;
}

/** Adds an entry to the digest of its user's group; with a `sign` of -1, subtracts it. */
function add(digests: Digest[], userHash: number, seq: number, sign = 1): void {
  const digest = digests[userHash % GROUPS] as Digest;
  const sum = digest.sum + sign * mix(userHash, seq);
  digest.rows += sign;
  digest.sum = sum < 0 ? sum + DIGEST_RANGE : sum % DIGEST_RANGE;
}

/** Returns a hash of a user's hash and a `seq`. */
function mix(userHash: number, seq: number): number {
  let hash = Math.imul(userHash | 0, 0x9e3779b1) ^ Math.imul(seq | 0, 0x85ebca6b);
  hash ^= Math.imul(Math.floor(seq / 2 ** 32) ^ Math.floor(userHash / 2 ** 32), 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
