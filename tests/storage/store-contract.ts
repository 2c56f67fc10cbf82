import { describe, expect, test } from 'bun:test';
import type { Kind, LogRecord } from '../../src/records.ts';
import type { RecordRow } from '../../src/storage/records.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { event, FIRST_SEQ, metric, records } from './log.ts';

/** A storage engine, as seen by the contract. */
export interface Store {
  readonly writer: Writer;
  /** Returns all rows of a kind, oldest first. */
  rows(kind: Kind): RecordRow[];
  /** Erases a user. Returns the number of erased rows. */
  erase(userId: string): { metrics: number; analytics: number };
  /** Returns the number of rows per name, from the column store. */
  names(kind: Kind): Record<string, number>;
  /** Simulates a crash: reopens the store in the state it has without being closed. Returns the new store. */
  crash(): Promise<Store>;
  close(): void;
}

/** Defines the tests of the storage contract that the rest of rawlog relies on. Run them for every storage engine. */
export function describeStore(name: string, open: () => Promise<Store>): void {
  const withStore = async (work: (store: Store) => Promise<Store | undefined>) => {
    const opened = await open();
    const last = (await work(opened)) ?? opened;
    last.close();
  };

  describe(`${name}: a store`, () => {
    test('returns committed records bit for bit in seq order, also after a crash', () =>
      withStore(async (store) => {
        const stored: LogRecord[] = [
          metric(FIRST_SEQ, { metricValue: 0.1, dataString: '' }),
          metric(FIRST_SEQ + 1, { metricValue: Number.MAX_VALUE, metricName: '\0 nul', userId: 'ü 🦀' }),
          metric(FIRST_SEQ + 2, { metricValue: 5e-324, happenedAt: -8e15, dataString: 'x'.repeat(8_192) }),
          event(FIRST_SEQ + 3, { data: `{"n":12345678901234567890,"text":"${'y'.repeat(100_000)}"}`, type: '' }),
        ];
        await store.writer.commit({ ...NOTHING, records: stored });
        const check = (checked: Store) => {
          const rows = [...checked.rows('metric'), ...checked.rows('analytics')];
          expect(rows.map(({ seq, id }) => [seq, id])).toEqual(stored.map(({ seq, id }) => [seq, id]));
          expect(rows.map(({ value }) => value)).toEqual(
            stored.map((record) => (record.kind === 'metric' ? record.metricValue : record.data)),
          );
          expect(
            rows.map(({ user_id, name, label, happened_at, received_at }) => [
              user_id,
              name,
              label,
              happened_at,
              received_at,
            ]),
          ).toEqual(
            stored.map((record) => [
              record.userId,
              record.kind === 'metric' ? record.metricName : record.type,
              record.kind === 'metric' ? record.dataString : record.dataIndex,
              record.happenedAt,
              record.receivedAt,
            ]),
          );
          expect(checked.writer.lastSeq()).toBe(FIRST_SEQ + 3);
        };
        check(store);
        const next = await store.crash();
        check(next);
        return next;
      }));

    test('stores a commit completely or not at all', () =>
      withStore(async (store) => {
        await store.writer.commit({ ...NOTHING, records: [metric(FIRST_SEQ)], counts: [['stored', 1]] });
        const failedCommit = Promise.try(store.writer.commit, {
          records: [metric(FIRST_SEQ + 1), metric(FIRST_SEQ)], // the second key is already taken
          responses: [
            { userId: 'ada', route: '/r', key: 'k', fingerprint: 'f', response: '"x"', seq: FIRST_SEQ, createdAt: 1 },
          ],
          names: [{ userHash: 1, nameHash: 2 }],
          counts: [['stored', 2]],
        });
        expect(await failedCommit.catch((error) => error.name)).toBe('StorageError');
        expect(store.rows('metric').length).toBe(1);
        expect(store.writer.counts()).toEqual([['stored', 1]]);
        expect(store.writer.responseOf({ userId: 'ada', route: '/r', key: 'k' })).toBeUndefined();
        expect(store.writer.namesOf(1)).toEqual([]);
        return undefined;
      }));

    test('returns a cached response only for its user, route and key, until it expires', () =>
      withStore(async (store) => {
        const cached = {
          userId: 'ada',
          route: '/r',
          key: 'k',
          fingerprint: 'f',
          response: '"1"',
          seq: FIRST_SEQ,
          createdAt: 100,
        };
        await store.writer.commit({ ...NOTHING, responses: [cached, { ...cached, key: 'later', createdAt: 200 }] });
        const next = await store.crash();
        expect(next.writer.responseOf(cached)).toEqual(cached);
        for (const other of [{ userId: 'bob' }, { route: '/s' }, { key: 'K' }]) {
          expect(next.writer.responseOf({ ...cached, ...other })).toBeUndefined();
        }
        expect(next.writer.expireResponses(100, 10)).toBe(0);
        expect(next.writer.expireResponses(101, 10)).toBe(1);
        expect(next.writer.responseOf(cached)).toBeUndefined();
        expect(next.writer.responseOf({ ...cached, key: 'later' })?.createdAt).toBe(200);
        return next;
      }));

    test('keeps used sign-in codes until they are deleted, and rejects one that is used twice', () =>
      withStore(async (store) => {
        const codes = [
          { jti: 'a', expiresAt: 100 },
          { jti: 'b', expiresAt: 200 },
        ];
        await store.writer.commit({ ...NOTHING, codes });
        await expect(Promise.try(store.writer.commit, { ...NOTHING, codes: codes.slice(1) })).rejects.toThrow();
        const next = await store.crash();
        next.writer.deleteUsedCodes(101);
        expect(['a', 'b', 'c'].map((jti) => next.writer.isUsed(jti))).toEqual([false, true, false]);
        return next;
      }));

    test('adds counts to the ledger', () =>
      withStore(async (store) => {
        await store.writer.commit({
          ...NOTHING,
          counts: [
            ['stored', 2],
            ['rejected:forbidden', 1],
          ],
        });
        await store.writer.commit({ ...NOTHING, counts: [['stored', 3]] });
        const next = await store.crash();
        expect(next.writer.counts().toSorted()).toEqual([
          ['rejected:forbidden', 1],
          ['stored', 5],
        ]);
        return next;
      }));

    test('erases one user from rows, names and cached responses, and no other user', () =>
      withStore(async (store) => {
        const rows = records(300, (seq, i) =>
          i % 2 === 0
            ? metric(seq, { userId: i % 3 === 0 ? 'bob' : 'ada', metricName: i % 3 === 0 ? `bob ${i % 4}` : 'load' })
            : event(seq, { userId: i % 3 === 0 ? 'bob' : 'ada' }),
        );
        const response = { route: '/r', key: 'k', fingerprint: 'f', response: '"1"', seq: FIRST_SEQ, createdAt: 1 };
        await store.writer.commit({
          records: rows,
          responses: ['ada', 'bob'].map((userId) => ({ ...response, userId })),
          names: [],
          counts: [['stored', rows.length]],
        });
        expect(store.names('metric')).toEqual({ load: 100, 'bob 0': 25, 'bob 2': 25 });
        expect(store.erase('bob')).toEqual({ metrics: 50, analytics: 50 });
        expect(store.erase('bob')).toEqual({ metrics: 0, analytics: 0 });
        expect(store.erase('nobody')).toEqual({ metrics: 0, analytics: 0 });
        const next = await store.crash();
        for (const kind of ['metric', 'analytics'] as const) {
          expect(next.rows(kind).map(({ seq }) => seq)).toEqual(
            rows.filter((row) => row.kind === kind && row.userId === 'ada').map(({ seq }) => seq),
          );
        }
        expect(next.names('metric')).toEqual({ load: 100 });
        expect(next.names('analytics')).toEqual({ click: 100 });
        expect(next.writer.responseOf({ ...response, userId: 'bob' })).toBeUndefined();
        expect(next.writer.responseOf({ ...response, userId: 'ada' })?.response).toBe('"1"');
        expect(new Map(next.writer.counts()).get('deleted')).toBe(100);
        expect(next.writer.lastSeq()).toBe(FIRST_SEQ + 299);
        return next;
      }));

    test('accepts an empty commit, which checks that the disk accepts writes', () =>
      withStore(async (store) => {
        await store.writer.commit(NOTHING);
        expect(store.rows('metric')).toEqual([]);
        return undefined;
      }));
  });
}
