import { describe, expect, test } from 'bun:test';
import type { Kind, LogRecord } from '../../src/records.ts';
import type { RecordRow } from '../../src/storage/records.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { event, FIRST_SEQ, metric, records } from './log.ts';

/** What a storage engine offers, as the contract needs it. */
export interface Store {
  readonly writer: Writer;
  /** All rows of a kind, oldest first. */
  rows(kind: Kind): RecordRow[];
  /** Erases a user; returns how many rows that were. */
  erase(userId: string): { metrics: number; analytics: number };
  /** What overviews say: rows by name. */
  names(kind: Kind): Record<string, number>;
  /** Lets go of the store as a crash would: without closing it. Returns the store as the next start opens it. */
  crash(): Promise<Store>;
  close(): void;
}

/** The contract of a storage engine: what the rest of rawlog relies on. Every engine runs it. */
export function describeStore(name: string, open: () => Promise<Store>): void {
  const using = async (work: (store: Store) => Promise<Store | undefined>) => {
    const opened = await open();
    const last = (await work(opened)) ?? opened;
    last.close();
  };

  describe(`${name}: a store`, () => {
    test('has what was committed, to the bit, in the order of seq, also after a crash', () =>
      using(async (store) => {
        const stored: LogRecord[] = [
          metric(FIRST_SEQ, { metricValue: 0.1, dataString: '' }),
          metric(FIRST_SEQ + 1, { metricValue: Number.MAX_VALUE, metricName: '\0 nul', userId: 'ü 🦀' }),
          metric(FIRST_SEQ + 2, { metricValue: 5e-324, happenedAt: -8e15, dataString: 'x'.repeat(8_192) }),
          event(FIRST_SEQ + 3, { data: `{"n":12345678901234567890,"text":"${'y'.repeat(100_000)}"}`, type: '' }),
        ];
        await store.writer.commit({ ...NOTHING, records: stored });
        const check = (one: Store) => {
          const rows = [...one.rows('metric'), ...one.rows('analytics')];
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
          expect(one.writer.lastSeq()).toBe(FIRST_SEQ + 3);
        };
        check(store);
        const next = await store.crash();
        check(next);
        return next;
      }));

    test('stores all of a commit or nothing of it', () =>
      using(async (store) => {
        await store.writer.commit({ ...NOTHING, records: [metric(FIRST_SEQ)], counts: [['stored', 1]] });
        const twice = store.writer.commit({
          records: [metric(FIRST_SEQ + 1), metric(FIRST_SEQ)], // the second is there already
          responses: [
            { userId: 'ada', route: '/r', key: 'k', fingerprint: 'f', response: '"x"', seq: FIRST_SEQ, createdAt: 1 },
          ],
          names: [{ userHash: 1, nameHash: 2 }],
          counts: [['stored', 2]],
        });
        expect(await twice.catch((error) => error.name)).toBe('StorageError');
        expect(store.rows('metric').length).toBe(1);
        expect(store.writer.counts()).toEqual([['stored', 1]]);
        expect(store.writer.responseOf({ userId: 'ada', route: '/r', key: 'k' })).toBeUndefined();
        expect(store.writer.namesOf(1)).toEqual([]);
        return undefined;
      }));

    test('returns a cached response for its user, route and key only, until it expires', () =>
      using(async (store) => {
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

    test('remembers used sign-in codes until they are deleted, and takes none twice', () =>
      using(async (store) => {
        const codes = [
          { jti: 'a', expiresAt: 100 },
          { jti: 'b', expiresAt: 200 },
        ];
        await store.writer.commit({ ...NOTHING, codes });
        await expect(store.writer.commit({ ...NOTHING, codes: codes.slice(1) })).rejects.toThrow();
        const next = await store.crash();
        next.writer.deleteUsedCodes(101);
        expect(['a', 'b', 'c'].map((jti) => next.writer.isUsed(jti))).toEqual([false, true, false]);
        return next;
      }));

    test('adds up the counts of the ledger', () =>
      using(async (store) => {
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

    test('erases a user from rows, overviews and cached responses, and nobody else', () =>
      using(async (store) => {
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

    test('finds out by an empty commit whether it can store', () =>
      using(async (store) => {
        await store.writer.commit(NOTHING);
        expect(store.rows('metric')).toEqual([]);
        return undefined;
      }));
  });
}
