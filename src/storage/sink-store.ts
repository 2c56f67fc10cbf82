import type { Database } from 'bun:sqlite';
import { findSink } from '../formats/forward-url.ts';
import { KINDS, type Kind, type LogRecord } from '../records.ts';
import { openForReading } from './database.ts';
import { listImportedRows, nextImportedRows, trimImportedRows } from './imported-rows.ts';
import type { Job } from './job.ts';
import { isRecordId, seqOfId } from './record-id.ts';
import { newestSeq, type ReadLimits, type RecordRow, readKeys, readWindow } from './records.ts';
import { idOf } from './row-form.ts';
import { countSinkErasures, finishSinkErasure, type PendingSinkErasure, readSinkErasures } from './sink-erasures.ts';
import { createTransact } from './transact.ts';

/*
 * What the forwarder stores about its sinks: cursors, dead letters, postponed rows. Its transactions write a few pages. They
 * are not synced: a cursor that a power cut undoes only makes the forwarder deliver rows again.
 */

/** Page cache of the forwarder's connection, in KB: it reads each page once, in order. */
const CACHE_KB = 4 * 1024;
/** Dead letters and postponed rows that are kept per sink. */
const MAX_SET_ASIDE = 10_000;
/** How long a postponed row waits at first, and at most, in milliseconds. The wait doubles with each attempt. */
const POSTPONED_MS = { first: 10_000, longest: 3_600_000 };

const EVERYTHING = { user: undefined, name: undefined, from: undefined, to: undefined };

/** A sink that is, or was, in FORWARD_URL. */
export interface StoredSink {
  readonly id: number;
  /** Its URL without credentials. */
  readonly name: string;
  /** All rows up to these keys were delivered or set aside. */
  readonly cursors: Readonly<Record<Kind, number>>;
  /** All imported rows up to this key of `imported_rows` were delivered. */
  readonly importId: number;
  /** Rows that retention deleted before they were delivered. */
  readonly skipped: number;
}

/** What a sink has received. */
export type SinkProgress = Pick<StoredSink, 'cursors' | 'importId'>;

/** A row that a sink did not accept. */
export interface SetAsideRow {
  readonly kind: Kind;
  readonly seq: number;
  readonly reason: string;
  /** Whether it is delivered again later. Otherwise it is a dead letter. */
  readonly isPostponed: boolean;
}

/** A dead letter, for the operator. */
export interface DeadLetter {
  readonly kind: Kind;
  readonly id: string;
  readonly reason: string;
  /** When the sink rejected the row, in milliseconds since 1970. */
  readonly at: number;
}

/** Numbers of rows and erasures that a sink has not accepted yet. */
export interface SetAsideCounts {
  /** Without those whose row was erased or deleted since. */
  readonly deadLetters: number;
  readonly postponed: number;
  readonly pendingErasures: number;
}

export type SinkStore = ReturnType<typeof createSinkStore>;

/**
 * Opens a database for the forwarder, with a connection of its own. A server has it open.
 *
 * @throws {UnusableDatabaseError} as {@link openForReading}
 */
export function openSinkStore(path: string, now: () => number = Date.now): SinkStore & { close(): void } {
  const client = openForReading(path);
  client.run(`PRAGMA cache_size = ${-CACHE_KB}`);
  return Object.assign(createSinkStore(client, now), { close: () => client.close() });
}

/** Returns all sinks that are known, in the order in which they were added. */
export function readSinks(client: Database): StoredSink[] {
  return client
    .query<{ id: number; name: string; metric: number; analytics: number; importId: number; skipped: number }, []>(
      `SELECT id, name, metric_seq AS metric, analytics_seq AS analytics, import_id AS importId, skipped
       FROM sinks ORDER BY id`,
    )
    .all()
    .map(({ metric, analytics, ...sink }) => ({ ...sink, cursors: { metric, analytics } }));
}

/** Adds to the number of rows that were deleted before a sink had received them, in the caller's transaction. */
export function addSkipped(client: Database, name: string, rows: number): void {
  client.query('UPDATE sinks SET skipped = skipped + ? WHERE name = ?').run(rows, name);
}

/**
 * Creates the store on a connection.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function createSinkStore(client: Database, now: () => number) {
  const transact = createTransact(client);
  const dataVersion = client.prepare<{ data_version: number }, []>('PRAGMA data_version');
  const saveCursors = client.prepare('UPDATE sinks SET metric_seq = ?, analytics_seq = ?, import_id = ? WHERE id = ?');
  const attemptsOf = client.prepare<{ attempts: number }, [number, Kind, number]>(
    'SELECT attempts FROM sink_rows WHERE sink_id = ? AND kind = ? AND seq = ?',
  );
  const setAside = client.prepare(
    `INSERT OR REPLACE INTO sink_rows (sink_id, kind, seq, reason, at, attempts, next_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
  );
  const remove = client.prepare('DELETE FROM sink_rows WHERE sink_id = ? AND kind = ? AND seq = ?');

  const find = (name: string) => findSink(readSinks(client), name);

  /** Adds rows that a sink did not accept to the list, or renews their entries, in the caller's transaction. */
  function addSetAside(sinkId: number, rows: readonly SetAsideRow[]): void {
    const at = now();
    for (const { kind, seq, reason, isPostponed } of rows) {
      const attempts = 1 + (attemptsOf.get(sinkId, kind, seq)?.attempts ?? 0);
      const waitMs = Math.min(POSTPONED_MS.longest, POSTPONED_MS.first * 2 ** (attempts - 1));
      setAside.run(sinkId, kind, seq, reason, at, attempts, isPostponed ? at + waitMs : null);
    }
    if (rows.length === 0) return;
    // the oldest rows beyond the limits: postponed ones become dead letters, and dead letters are dropped
    client
      .query(
        `UPDATE sink_rows SET next_at = NULL WHERE rowid IN (SELECT rowid FROM sink_rows
         WHERE sink_id = ? AND next_at IS NOT NULL ORDER BY seq DESC LIMIT -1 OFFSET ${MAX_SET_ASIDE})`,
      )
      .run(sinkId);
    client
      .query(
        `DELETE FROM sink_rows WHERE rowid IN (SELECT rowid FROM sink_rows
         WHERE sink_id = ? AND next_at IS NULL ORDER BY at DESC, seq DESC LIMIT -1 OFFSET ${MAX_SET_ASIDE})`,
      )
      .run(sinkId);
  }

  return {
    /** Returns a number that changes when another connection has committed. */
    dataVersion: () => dataVersion.get()?.data_version ?? 0,
    /** Returns a sink by its name, or by another name of the same place. */
    find,
    all: () => readSinks(client),
    /** Returns a sink, which is added if it is new: it then receives all stored rows. */
    register(name: string): StoredSink {
      const known = find(name);
      if (known) return known;
      transact(() =>
        client
          .query(
            `INSERT INTO sinks (name, metric_seq, analytics_seq, import_id, skipped)
             VALUES (?, 0, 0, max(coalesce((SELECT max(id) FROM imported_rows), 0),
                                  coalesce((SELECT max(import_id) FROM sinks), 0)), 0)`,
          )
          .run(name),
      );
      return find(name) as StoredSink; // just added
    },
    /**
     * Reads the rows after a `seq`, in commit order. Blank rows are skipped.
     *
     * @returns the rows, the `seq` to continue from, and whether a limit ended the block
     */
    readBlock(kind: Kind, after: number, limits: ReadLimits): { records: LogRecord[]; next: number; isFull: boolean } {
      const records: LogRecord[] = [];
      let bytes = 0;
      let position: { after: number; end?: number } | undefined = { after };
      let next = after;
      while (position && records.length < limits.rows && bytes < limits.bytes) {
        const room = { rows: limits.rows - records.length, bytes: limits.bytes - bytes };
        const window: ReturnType<typeof readWindow> = readWindow(client, kind, EVERYTHING, position, 'oldest', room);
        for (const row of window.rows) records.push(recordOf(kind, row));
        bytes += window.bytes;
        position = window.next;
        next = position?.after ?? next;
      }
      return { records, next, isFull: position !== undefined };
    },
    /** Reads rows by their keys, ascending. Blank rows are skipped. */
    readRows(kind: Kind, seqs: readonly number[]): LogRecord[] {
      const sorted = [...seqs].sort((a, b) => a - b);
      const limits = { rows: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };
      return readKeys(client, kind, EVERYTHING, sorted, limits).rows.map((row) => recordOf(kind, row));
    },
    /** Stores the cursors of a sink, with the rows that it did not accept before them. */
    save(sinkId: number, { cursors, importId }: SinkProgress, rows: readonly SetAsideRow[]): void {
      transact(() => {
        saveCursors.run(cursors.metric, cursors.analytics, importId, sinkId);
        addSetAside(sinkId, rows);
        trimImportedRows(client);
      });
    },
    /** Returns the next imported rows that a sink has not received, and their keys. */
    nextImported: (importId: number) => nextImportedRows(client, importId),
    /** Returns what the next transactions of imports have stored that a sink has not received. */
    listImported: (importId: number, limit: number) => listImportedRows(client, importId, limit),
    /** Returns the postponed rows of a kind that are due, the one that has waited longest first. */
    duePostponed(sinkId: number, kind: Kind, limit: number): number[] {
      return client
        .query<{ seq: number }, [number, Kind, number, number]>(
          `SELECT seq FROM sink_rows WHERE sink_id = ? AND kind = ? AND next_at <= ? ORDER BY next_at LIMIT ?`,
        )
        .all(sinkId, kind, now(), limit)
        .map(({ seq }) => seq);
    },
    /** Returns when the next postponed row is due, in milliseconds since 1970; undefined if there is none. */
    nextDueAt(sinkId: number): number | undefined {
      const query = client.query<{ at: number | null }, [number]>(
        'SELECT min(next_at) AS at FROM sink_rows WHERE sink_id = ?',
      );
      return query.get(sinkId)?.at ?? undefined;
    },
    /** Stores the outcome of delivering postponed rows: those that are not in `refused` are stored, or gone. */
    settlePostponed(sinkId: number, kind: Kind, seqs: readonly number[], refused: readonly SetAsideRow[]): void {
      const kept = new Set(refused.map(({ seq }) => seq));
      transact(() => {
        for (const seq of seqs) if (!kept.has(seq)) remove.run(sinkId, kind, seq);
        addSetAside(sinkId, refused);
      });
    },
    /** Returns the erasures that a sink can repeat now. */
    dueErasures: (sinkId: number): PendingSinkErasure[] => readSinkErasures(client, sinkId),
    /** Records that a sink has repeated an erasure. */
    finishErasure: (id: number) => transact(() => finishSinkErasure(client, id)),
    /** Returns how much a sink has not accepted. */
    counts(sinkId: number): SetAsideCounts {
      const count = (sql: string) => client.query<{ n: number }, [number]>(sql).get(sinkId)?.n ?? 0;
      const deadOfKind = (kind: Kind) => count(`SELECT count(*) AS n ${deadLettersOf(kind)}`);
      return {
        deadLetters: deadOfKind('metric') + deadOfKind('analytics'),
        postponed: count('SELECT count(next_at) AS n FROM sink_rows WHERE sink_id = ?'),
        pendingErasures: countSinkErasures(client, sinkId),
      };
    },
    /** Returns the dead letters of a sink, newest first, except for those whose row was erased or deleted since. */
    deadLetters(sinkId: number): DeadLetter[] {
      const ofKind = (kind: Kind) =>
        client
          .query<DeadLetter & { seq: number }, [number]>(
            `SELECT kind, id, reason, at, stored.seq AS seq ${deadLettersOf(kind)}`,
          )
          .all(sinkId);
      return KINDS.flatMap(ofKind)
        .sort((a, b) => b.at - a.at || b.seq - a.seq)
        .map(({ seq, id, ...letter }) => ({ ...letter, id: idOf(seq, id) }));
    },
    /** Lets all dead letters and postponed rows of a sink be delivered again now. Returns their number. */
    retry(sinkId: number): number {
      return transact(
        () =>
          client.query('UPDATE sink_rows SET next_at = ?, attempts = 0 WHERE sink_id = ?').run(now(), sinkId).changes,
      );
    },
    /**
     * Moves the cursors of a sink before a `seq`. Rows from there on that were set aside are read from the log again.
     *
     * @throws {Error} with a message for the operator, if there is no row from there on
     */
    reset(sinkId: number, seq: number): void {
      if (!KINDS.some((kind) => newestSeq(client, kind) >= seq))
        throw new Error('There are no records from this ID on.');
      transact(() => {
        client
          .query('UPDATE sinks SET metric_seq = ?1, analytics_seq = ?1 WHERE id = ?2')
          .run(Math.max(0, seq - 1), sinkId);
        client.query('DELETE FROM sink_rows WHERE sink_id = ? AND seq >= ?').run(sinkId, seq);
      });
    },
    /** Returns the number of rows of a kind after a `seq`, up to a limit, and the `seq` of the first and the last of them. */
    countAfter(kind: Kind, after: number, limit: number): { rows: number; first: number; last: number } {
      const table = kind === 'metric' ? 'metrics' : 'analytics';
      const found = client
        .query<{ rows: number; first: number | null; last: number | null }, [number, number]>(
          `SELECT count(*) AS rows, min(seq) AS first, max(seq) AS last FROM (
             SELECT seq FROM ${table} WHERE seq > ? ORDER BY seq LIMIT ?)`,
        )
        .get(after, limit);
      return { rows: found?.rows ?? 0, first: found?.first ?? after, last: found?.last ?? after };
    },
  };
}

/**
 * Removes a sink that no forwarder uses, with its dead letters. Its pending erasures are given up, and their user IDs
 * blanked.
 *
 * @returns whether there was such a sink
 */
export function* dropSink(client: Database, name: string): Job<boolean> {
  const sink = readSinks(client).find((candidate) => candidate.name === name);
  if (!sink) return false;
  createTransact(client)(() => {
    client.query('UPDATE sink_erasures SET user_id = NULL WHERE sink_id = ?').run(sink.id);
    client.query('DELETE FROM sink_rows WHERE sink_id = ?').run(sink.id);
    client.query('DELETE FROM sinks WHERE id = ?').run(sink.id);
    trimImportedRows(client);
  });
  yield;
  return true;
}

/**
 * Parses the ID of a record that deliveries start from.
 *
 * @returns its `seq`
 * @throws {Error} with a message that completes a sentence
 */
export function parseFirstId(text: string): number {
  if (!isRecordId(text)) throw new Error('should be the ID of a record, a UUIDv7');
  return Math.max(1, seqOfId(text));
}

/** Returns SQL that selects the dead letters of a sink whose row is still there. */
function deadLettersOf(kind: Kind): string {
  return `FROM sink_rows JOIN ${kind === 'metric' ? 'metrics' : 'analytics'} AS stored ON stored.seq = sink_rows.seq
    WHERE sink_id = ? AND kind = '${kind}' AND next_at IS NULL AND stored.user_id <> ''`;
}

function recordOf(kind: Kind, row: RecordRow): LogRecord {
  const { seq, id, user_id: userId, happened_at: happenedAt, received_at: receivedAt, name, label, value } = row;
  const stamp = { seq, id, userId, happenedAt, receivedAt, ...(row.source && { source: row.source }) };
  return kind === 'metric'
    ? { kind, ...stamp, metricName: name, metricValue: value as number, dataString: label }
    : { kind, ...stamp, type: name, dataIndex: label, data: value as string };
}
