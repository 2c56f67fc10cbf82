import { and, eq, sql } from 'drizzle-orm';
import type { Kind, LogRecord } from '../records.ts';
import { BLANK_RESPONSE } from './blanking.ts';
import { cachedResponseKey, type Storage } from './database.ts';
import { addToLedger, type Count, readLedger } from './ledger.ts';
import { MAX_SEQ } from './record-id.ts';
import { formOf } from './row-form.ts';
import { analytics, cachedResponses, metrics } from './schema.ts';
import { assertChanges, type StorageError, toStorageError } from './storage-error.ts';
import { createTransact } from './transact.ts';
import { touch } from './wal-stamp.ts';

/**
 * Blank responses kept before the oldest response that is not blank. Deleting a row can move rows of the two neighboring
 * pages. A page holds about 250 blank rows, so with this margin only blank rows are moved.
 */
const BLANK_MARGIN = 1_000;

/** A response cached under a client's Idempotency-Key. */
export interface CachedResponse {
  readonly userId: string;
  readonly route: string;
  readonly key: string;
  /** SHA-256 of the caller and the payload, in base64. Detects a key that is reused for a different request. */
  readonly fingerprint: string;
  /** The response body. */
  readonly response: string;
  /** The highest `seq` among its records. */
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** The lookup key of a cached response. */
export type ResponseKey = Pick<CachedResponse, 'userId' | 'route' | 'key'>;

/** A name that a user records for the first time. Both fields are hashes: see user-names.ts. */
export interface UserName {
  readonly userHash: number;
  readonly nameHash: number;
}

/** A sign-in code that was exchanged for a token. */
export interface UsedCode {
  readonly jti: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** A change within a transaction. Returns the number of rows that it has inserted, updated or deleted. */
export type Change = () => number;

/** The content of one transaction. */
export interface Commit {
  readonly records: readonly LogRecord[];
  readonly responses: readonly CachedResponse[];
  readonly names: readonly UserName[];
  readonly codes?: readonly UsedCode[];
  /** Other changes. A transaction that is retried runs them again. */
  readonly changes?: readonly Change[];
  /** Increments of ledger counts. */
  readonly counts: readonly Count[];
}

/** The only writer of records, except for imports. */
export interface Writer {
  /**
   * Commits everything in one transaction, which is complete when the call returns. Returns undefined if it is already
   * fsynced, otherwise a promise that resolves then. A commit without records still writes a page, to check that the
   * disk accepts writes.
   *
   * @throws {StorageError} if the transaction was not committed. With the kind `failing`, it may have been, and the
   *   error can also be a rejection
   */
  commit(commit: Commit): Promise<void> | undefined;
  /** Returns the counts of the ledger. */
  counts(): Count[];
  /** Returns the response cached under a key, if any. */
  responseOf(key: ResponseKey): CachedResponse | undefined;
  /**
   * Blanks cached responses that are older than a time, oldest first.
   *
   * @param before milliseconds since 1970
   * @param limit maximum number of responses to blank
   * @returns the number of blanked responses
   * @throws {StorageError}
   */
  expireResponses(before: number, limit: number): number;
  /** Returns whether a sign-in code was used. */
  isUsed(jti: string): boolean;
  /**
   * Deletes used codes that expired before a time.
   *
   * @param before milliseconds since 1970
   * @throws {StorageError}
   */
  deleteUsedCodes(before: number): void;
  /** Returns the hashes of the names that a user has recorded: see user-names.ts. */
  namesOf(userHash: number): number[];
  /**
   * Returns whether the column store has rows of a user under a name. This includes names that were imported, or
   * recorded before names were counted.
   */
  hasRecorded(userId: string, kind: Kind, name: string): boolean;
  /** Returns all names for which {@link Writer.hasRecorded} returns true. */
  recordedNames(userId: string, kind: Kind): string[];
  /**
   * Returns the highest `seq` in the rows, the column store's watermarks, the erasure list and the deletions; 0 if there is
   * none.
   */
  lastSeq(): number;
}

/**
 * Creates the writer of a database. There must be only one per database file.
 *
 * @param onCommit called after each commit with its number of rows, its duration including the fsync, and the duration of
 *   the fsync, both in seconds. Must not throw, because the rows are on disk
 */
export function createWriter(
  { orm, client, sync, hash }: Storage,
  onCommit: (rows: number, seconds: number, syncSeconds: number) => void = () => {},
): Writer {
  const stamps = {
    seq: sql.placeholder('seq'),
    id: sql.placeholder('id'),
    userId: sql.placeholder('userId'),
    happenedAt: sql.placeholder('happenedAt'),
    receivedAt: sql.placeholder('receivedAt'),
  };
  // drizzle generates the SQL, and the driver runs it. These statements run for every record, and drizzle's prepared
  // statements take twice as long as the driver's because they look up each placeholder by name.
  const insertMetric = client.prepare(
    orm
      .insert(metrics)
      .values({
        ...stamps,
        metricName: sql.placeholder('metricName'),
        metricValue: sql.placeholder('metricValue'),
        dataString: sql.placeholder('dataString'),
      })
      .toSQL().sql,
  );
  const insertAnalytics = client.prepare(
    orm
      .insert(analytics)
      .values({
        ...stamps,
        type: sql.placeholder('type'),
        dataIndex: sql.placeholder('dataIndex'),
        data: sql.placeholder('data'),
      })
      .toSQL().sql,
  );
  const insertResponse = client.prepare(
    orm
      .insert(cachedResponses)
      .values({
        keyHash: sql.placeholder('keyHash'),
        userId: sql.placeholder('userId'),
        route: sql.placeholder('route'),
        key: sql.placeholder('key'),
        fingerprint: sql.placeholder('fingerprint'),
        response: sql.placeholder('response'),
        seq: sql.placeholder('seq'),
        createdAt: sql.placeholder('createdAt'),
      })
      .toSQL().sql,
  );
  const findResponse = orm
    .select()
    .from(cachedResponses)
    .where(
      and(
        eq(cachedResponses.keyHash, sql.placeholder('keyHash')),
        eq(cachedResponses.key, sql.placeholder('key')),
        eq(cachedResponses.userId, sql.placeholder('userId')),
        eq(cachedResponses.route, sql.placeholder('route')),
      ),
    )
    .prepare();
  const oldestResponses = client.prepare<{ id: number; createdAt: number; isBlank: number }, [number]>(
    'SELECT id, created_at AS createdAt, key IS NULL AS isBlank FROM cached_responses ORDER BY id LIMIT ?',
  );
  const blankResponse = client.prepare(BLANK_RESPONSE);
  const deleteResponse = client.prepare('DELETE FROM cached_responses WHERE id = ?');
  const insertName = client.prepare('INSERT OR IGNORE INTO user_names (user_hash, name_hash) VALUES (?, ?)');
  const insertCode = client.prepare('INSERT INTO used_codes (jti, expires_at) VALUES (?, ?)');
  const findCode = client.prepare('SELECT 1 FROM used_codes WHERE jti = ?');
  const deleteCodes = client.prepare('DELETE FROM used_codes WHERE expires_at < ?');
  const findNames = client.prepare<{ nameHash: number }, [number]>(
    'SELECT name_hash AS nameHash FROM user_names WHERE user_hash = ?',
  );
  const findRecorded = client.prepare<{ found: number }, [number, string, string, string]>(
    `SELECT 1 AS found FROM users JOIN user_series ON user_series.user = users.id
     JOIN series ON series.id = user_series.series_id
     WHERE users.hash = ? AND users.user_id = ? AND series.kind = ? AND series.name = ?`,
  );
  const listRecorded = client.prepare<{ name: string }, [number, string, string]>(
    `SELECT series.name FROM users JOIN user_series ON user_series.user = users.id
     JOIN series ON series.id = user_series.series_id
     WHERE users.hash = ? AND users.user_id = ? AND series.kind = ? AND series.name IS NOT NULL`,
  );
  const totalChanges = client.prepare<{ n: number }, []>('SELECT total_changes() AS n');
  const changesSoFar = () => totalChanges.get()?.n ?? 0;
  const runTransaction = createTransact(client);

  /** The first `failing` error. Every later call throws it, because what is on disk cannot be determined any more. */
  let broken: StorageError | undefined;

  /** Converts an error to a StorageError, and keeps it in `broken` if the storage is failing. */
  function latchFailing(error: unknown): StorageError {
    const storageError = toStorageError(error);
    if (storageError.kind === 'failing') broken ??= storageError;
    return storageError;
  }

  function transact<Result>(work: () => Result): Result {
    if (broken) throw broken;
    try {
      return runTransaction(work);
    } catch (error) {
      throw latchFailing(error);
    }
  }

  /** Runs a read. If it finds the database damaged, later commits fail instead of writing to it. */
  function read<Result>(statement: () => Result): Result {
    if (broken) throw broken;
    try {
      return statement();
    } catch (error) {
      throw latchFailing(error);
    }
  }

  return {
    commit({ records, responses, names, codes = [], changes = [], counts }) {
      const startedAt = performance.now();
      transact(() => {
        const before = changesSoFar();
        if (records.length === 0) touch(client);
        for (const record of records) {
          const { seq, userId } = record;
          const { id, happenedAt, receivedAt } = formOf(record);
          // Parameters are in column order.
          if (record.kind === 'metric') {
            const { metricName, metricValue, dataString } = record;
            const result = insertMetric.run(
              seq,
              id,
              userId,
              happenedAt,
              receivedAt,
              metricName,
              metricValue,
              dataString,
            );
            assertChanges(result.changes, 1);
          } else {
            const { type, dataIndex, data } = record;
            const result = insertAnalytics.run(seq, id, userId, happenedAt, receivedAt, type, dataIndex, data);
            assertChanges(result.changes, 1);
          }
        }
        for (const { userId, route, key, fingerprint, response, seq, createdAt } of responses) {
          const keyHash = hash(cachedResponseKey(userId, route, key));
          const result = insertResponse.run(keyHash, userId, route, key, fingerprint, response, seq, createdAt);
          assertChanges(result.changes, 1);
        }
        let expected = records.length + responses.length + counts.length;
        for (const { userHash, nameHash } of names) expected += insertName.run(userHash, nameHash).changes;
        for (const { jti, expiresAt } of codes) expected += insertCode.run(jti, expiresAt).changes;
        for (const change of changes) expected += change();
        for (const [name, items] of counts) addToLedger(client, name, items);
        // A statement's own count excludes changes made by triggers; the total includes them.
        assertChanges(changesSoFar() - before, expected);
      });
      const committedAt = performance.now();
      const finish = () => {
        const syncedAt = performance.now();
        onCommit(records.length, (syncedAt - startedAt) / 1000, (syncedAt - committedAt) / 1000);
      };
      let synced: Promise<void> | undefined;
      try {
        synced = sync();
      } catch (error) {
        throw latchFailing(error);
      }
      if (synced === undefined) return void finish();
      return synced.then(finish, (error: unknown) => {
        throw latchFailing(error);
      });
    },
    counts: () => read(() => readLedger(client)),
    responseOf(key) {
      const keyHash = hash(cachedResponseKey(key.userId, key.route, key.key));
      const found = read(() => findResponse.get({ ...key, keyHash }));
      if (found?.fingerprint == null || found.response === null) return undefined; // blank
      return {
        ...key,
        fingerprint: found.fingerprint,
        response: found.response,
        seq: found.seq,
        createdAt: found.createdAt,
      };
    },
    expireResponses(before, limit) {
      return transact(() => {
        const oldest = oldestResponses.all(limit + 2 * BLANK_MARGIN);
        let expired = 0;
        let blank = 0;
        for (const { id, createdAt, isBlank } of oldest) {
          if (isBlank === 0) {
            if (createdAt >= before || expired === limit) break;
            blankResponse.run(id);
            expired++;
          }
          blank++;
        }
        for (const { id } of oldest.slice(0, Math.max(0, blank - BLANK_MARGIN))) deleteResponse.run(id);
        return expired;
      });
    },
    isUsed(jti) {
      if (broken) throw broken;
      return read(() => findCode.get(jti)) !== null;
    },
    deleteUsedCodes(before) {
      transact(() => deleteCodes.run(before));
    },
    namesOf: (userHash) => read(() => findNames.all(userHash)).map(({ nameHash }) => nameHash),
    hasRecorded: (userId, kind, name) => read(() => findRecorded.get(hash(userId), userId, kind, name)) !== null,
    recordedNames: (userId, kind) => read(() => listRecorded.all(hash(userId), userId, kind)).map(({ name }) => name),
    lastSeq() {
      const query = () =>
        orm.all<{ last: number }>(
          sql`SELECT max(
          coalesce((SELECT max(seq) FROM metrics WHERE seq <= ${MAX_SEQ}), 0),
          coalesce((SELECT max(seq) FROM analytics WHERE seq <= ${MAX_SEQ}), 0),
          coalesce((SELECT max(value) FROM column_state WHERE name IN ('metric', 'analytics')), 0),
          coalesce((SELECT max(seq) FROM sealed_series), 0),
          coalesce((SELECT max(cutoff_seq) FROM erasures), 0),
          coalesce((SELECT max(cutoff_seq) FROM deletions), 0)
        ) AS last`,
        );
      return read(query)[0]?.last ?? 0;
    },
  };
}
