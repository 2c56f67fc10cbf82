import { and, eq, sql } from 'drizzle-orm';
import type { Kind, LogRecord } from '../records.ts';
import { cachedResponseKey, type Storage } from './database.ts';
import { BLANK_RESPONSE } from './erasure.ts';
import { addToLedger, type Count, readLedger } from './ledger.ts';
import { touch } from './log-identity.ts';
import { MAX_SEQ } from './record-id.ts';
import { analytics, cachedResponses, metrics } from './schema.ts';
import { assertChanges, type StorageError, toStorageError } from './storage-error.ts';
import { createTransact } from './transact.ts';

/**
 * Blank responses that stay in front of the oldest one that is not blank. Deleting a row can move rows of the two
 * pages beside it; pages of blank rows hold about 250 each, so that only blank rows are ever moved.
 */
const BLANK_MARGIN = 1_000;

/** A response that is cached under a client's Idempotency-Key. */
export interface CachedResponse {
  readonly userId: string;
  readonly route: string;
  readonly key: string;
  /** Tells payloads apart. */
  readonly fingerprint: string;
  /** The body of the response. */
  readonly response: string;
  /** The highest `seq` among its records. */
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** What identifies a cached response. */
export type ResponseKey = Pick<CachedResponse, 'userId' | 'route' | 'key'>;

/** A name that a user records for the first time, as hashes: see user-names.ts. */
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

/** What one transaction stores. */
export interface Commit {
  readonly records: readonly LogRecord[];
  readonly responses: readonly CachedResponse[];
  readonly names: readonly UserName[];
  readonly codes?: readonly UsedCode[];
  /** What is added to the counts of the ledger. */
  readonly counts: readonly Count[];
}

/** The only way in which records enter the database. */
export interface Writer {
  /**
   * Stores everything in one transaction. Resolves once it is on the disk, fsynced; the transaction itself is over
   * when the call returns. With no records it writes all the same, to find out whether a commit succeeds.
   *
   * @throws {StorageError} and then nothing is stored; except that after the kind `failing` it cannot be known
   */
  commit(commit: Commit): Promise<void>;
  /** The counts of the ledger. */
  counts(): Count[];
  /** The response that is cached under a key, if any. */
  responseOf(key: ResponseKey): CachedResponse | undefined;
  /**
   * Blanks cached responses from before a time, in milliseconds since 1970, the oldest first.
   *
   * @param limit how many at most
   * @returns how many were blanked
   * @throws {StorageError}
   */
  expireResponses(before: number, limit: number): number;
  /** Whether a sign-in code was used. */
  isUsed(jti: string): boolean;
  /**
   * Deletes used codes that expired before a time, in milliseconds since 1970.
   *
   * @throws {StorageError}
   */
  deleteUsedCodes(before: number): void;
  /** The hashes of the names that a user has recorded: see user-names.ts. */
  namesOf(userHash: number): number[];
  /** Whether the column store has rows of a user under a name: it has those that came by import or before names were counted. */
  hasRecorded(userId: string, kind: Kind, name: string): boolean;
  /** The highest `seq` taken so far, by rows, the column store's watermarks or the erasure list; 0 if none is. */
  lastSeq(): number;
}

/**
 * Makes the writer of a database. There must be one for each database file.
 *
 * @param onCommit told of each commit: its rows, its time until it was on the disk, and the part of the fsync
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
  // drizzle writes the statements, the driver runs them: these two are run for every record, and
  // drizzle's prepared form takes twice the time of the driver's (it looks up each placeholder by name)
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
  const totalChanges = client.prepare<{ n: number }, []>('SELECT total_changes() AS n');
  const changesSoFar = () => totalChanges.get()?.n ?? 0;
  const runTransaction = createTransact(client);

  /** What broke the storage. From then on every call fails with it: nobody knows what is on the disk. */
  let broken: StorageError | undefined;

  function noteBroken(error: unknown): StorageError {
    const storageError = toStorageError(error);
    if (storageError.kind === 'failing') broken ??= storageError;
    return storageError;
  }

  function transact<Result>(work: () => Result): Result {
    if (broken) throw broken;
    try {
      return runTransaction(work);
    } catch (error) {
      throw noteBroken(error);
    }
  }

  /** Runs a statement that reads: what it finds damaged, the next commit does not write to. */
  function read<Result>(statement: () => Result): Result {
    if (broken) throw broken;
    try {
      return statement();
    } catch (error) {
      throw noteBroken(error);
    }
  }

  return {
    async commit({ records, responses, names, codes = [], counts }) {
      const began = performance.now();
      transact(() => {
        const before = changesSoFar();
        if (records.length === 0) touch(client);
        for (const record of records) {
          const { seq, id, userId, happenedAt, receivedAt } = record;
          // in the order of the columns
          if (record.kind === 'metric') {
            const { metricName, metricValue, dataString } = record;
            const stored = insertMetric.run(
              seq,
              id,
              userId,
              happenedAt,
              receivedAt,
              metricName,
              metricValue,
              dataString,
            );
            assertChanges(stored.changes, 1);
          } else {
            const { type, dataIndex, data } = record;
            const stored = insertAnalytics.run(seq, id, userId, happenedAt, receivedAt, type, dataIndex, data);
            assertChanges(stored.changes, 1);
          }
        }
        for (const { userId, route, key, fingerprint, response, seq, createdAt } of responses) {
          const keyHash = hash(cachedResponseKey(userId, route, key));
          const stored = insertResponse.run(keyHash, userId, route, key, fingerprint, response, seq, createdAt);
          assertChanges(stored.changes, 1);
        }
        let expected = records.length + responses.length + counts.length;
        for (const { userHash, nameHash } of names) expected += insertName.run(userHash, nameHash).changes;
        for (const { jti, expiresAt } of codes) expected += insertCode.run(jti, expiresAt).changes;
        for (const [name, items] of counts) addToLedger(client, name, items);
        // what triggers do is in no statement's own count
        assertChanges(changesSoFar() - before, expected);
      });
      const committed = performance.now();
      await sync().catch((error: unknown) => {
        throw noteBroken(error);
      });
      const synced = performance.now();
      onCommit(records.length, (synced - began) / 1000, (synced - committed) / 1000);
    },
    counts: () => read(() => readLedger(client)),
    responseOf(key) {
      const keyHash = hash(cachedResponseKey(key.userId, key.route, key.key));
      const found = read(() => findResponse.get({ ...key, keyHash }));
      if (found?.fingerprint == null || found.response === null) return undefined; // null: blank
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
    lastSeq() {
      const query = () =>
        orm.all<{ last: number }>(
          sql`SELECT max(
          coalesce((SELECT max(seq) FROM metrics WHERE seq <= ${MAX_SEQ}), 0),
          coalesce((SELECT max(seq) FROM analytics WHERE seq <= ${MAX_SEQ}), 0),
          coalesce((SELECT max(value) FROM column_state WHERE name IN ('metric', 'analytics')), 0),
          coalesce((SELECT max(seq) FROM sealed_series), 0),
          coalesce((SELECT max(cutoff_seq) FROM erasures), 0)
        ) AS last`,
        );
      return read(query)[0]?.last ?? 0;
    },
  };
}
