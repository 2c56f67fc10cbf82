import { LRUCache } from 'lru-cache';
import { ApiError, type ValidationIssue } from '../errors.ts';
import type { Kind } from '../records.ts';
import type { TextHash } from '../storage/text-hash.ts';
import type { UserName, Writer } from '../storage/writer.ts';
import { toApiError } from './to-api-error.ts';

/** Maximum number of names cached for all users, about 30 MB. */
const CACHED_NAMES = 500_000;
/** Cache weight of a user without names. */
const USER_WEIGHT = 4;
/** Maximum number of cached name hashes. Products record the same few names repeatedly. */
const CACHED_HASHES = 10_000;

/** The result for a request without new names: most requests. */
const NONE: readonly UserName[] = [];

/** A metric name or event type in a request, with its position in the body. */
export interface NameUse {
  readonly kind: Kind;
  readonly name: string;
  readonly loc: ValidationIssue['loc'];
}

/** Limits the number of distinct metric names and event types per user. */
export interface UserNames {
  /**
   * Admits the names of a request, all or none.
   *
   * @returns the names that the user records for the first time, to be stored with the records
   * @throws {ApiError} `too_many_names` with an issue for each name beyond the limit
   */
  admit(userId: string, uses: readonly NameUse[]): readonly UserName[];
  /** Returns which of some names a user has recorded. */
  recordedOf(userId: string, kind: Kind, names: readonly string[]): ReadonlySet<string>;
  /** Evicts a user from the cache when it may differ from the database: after an erasure or a failed request. */
  invalidate(userId: string): void;
}

/**
 * Creates the limit. The writer stores names as hashes. A name that the column store already contains for a user is
 * exempt: it was imported, or recorded before names were counted.
 *
 * @param max maximum number of distinct metric names and event types per user, combined
 */
export function createUserNames(
  writer: Pick<Writer, 'namesOf' | 'hasRecorded' | 'recordedNames'>,
  hash: TextHash,
  max: number,
): UserNames {
  const users = new LRUCache<string, Set<number>>({
    maxSize: CACHED_NAMES,
    sizeCalculation: (names) => names.size + USER_WEIGHT,
  });
  const hashes: Record<Kind, LRUCache<string, number>> = {
    metric: new LRUCache({ max: CACHED_HASHES }),
    analytics: new LRUCache({ max: CACHED_HASHES }),
  };

  function hashOf(kind: Kind, name: string): number {
    let found = hashes[kind].get(name);
    if (found === undefined) {
      found = hash(name, kind === 'metric' ? 1 : 2);
      hashes[kind].set(name, found);
    }
    return found;
  }

  /** Reads from the database, and converts its errors. */
  function readDatabase<Result>(read: () => Result): Result {
    try {
      return read();
    } catch (error) {
      throw toApiError(error);
    }
  }

  return {
    admit(userId, uses) {
      let known = users.get(userId);
      const userHash = known ? undefined : hash(userId);
      if (!known) {
        known = new Set(readDatabase(() => writer.namesOf(userHash ?? 0)));
        users.set(userId, known);
      }
      let added: Map<number, NameUse> | undefined;
      for (const use of uses) {
        const nameHash = hashOf(use.kind, use.name);
        if (known.has(nameHash) || added?.has(nameHash)) continue;
        added ??= new Map();
        added.set(nameHash, use);
      }
      if (!added) return NONE;
      const room = max - known.size;
      if (added.size > room) {
        for (const [nameHash, { kind, name }] of added) {
          if (readDatabase(() => writer.hasRecorded(userId, kind, name))) added.delete(nameHash);
        }
      }
      if (added.size > Math.max(0, room)) {
        const msg = `Value error, a user may record at most ${max} distinct metric names and event types`;
        const beyond = [...added.values()].slice(Math.max(0, room));
        throw new ApiError('too_many_names', {
          issues: beyond.map(({ loc }) => ({ loc, msg, type: 'too_many_names' })),
        });
      }
      for (const nameHash of added.keys()) known.add(nameHash);
      users.set(userId, known); // its size has changed
      const user = userHash ?? hash(userId);
      return [...added.keys()].map((nameHash) => ({ userHash: user, nameHash }));
    },
    recordedOf(userId, kind, names) {
      const known = users.get(userId) ?? new Set(readDatabase(() => writer.namesOf(hash(userId))));
      const found = new Set(names.filter((name) => known.has(hashOf(kind, name))));
      if (found.size === new Set(names).size) return found;
      const others = new Set(readDatabase(() => writer.recordedNames(userId, kind)));
      for (const name of names) if (others.has(name)) found.add(name);
      return found;
    },
    invalidate: (userId) => void users.delete(userId),
  };
}
