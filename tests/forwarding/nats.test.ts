import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createNatsSink } from '../../src/forwarding/nats/nats-sink.ts';
import { isCovered, subjectOf } from '../../src/forwarding/nats/subject.ts';
import { type Sink, SinkConfigurationError, SinkUnavailableError } from '../../src/forwarding/sink.ts';
import type { LogRecord } from '../../src/records.ts';
import { lastIdOf, seqOfId } from '../../src/storage/record-id.ts';
import { eventually, hasNats, Nats } from '../harness/nats.ts';
import { temporaryFolder } from '../harness/target.ts';

const { signal } = new AbortController();

test('the largest ID of a key sorts after every ID with it, and before those of the next one', () => {
  const seq = seqOfId('01a21a94-e1ed-7fff-8000-000000000000');
  expect(lastIdOf(seq)).toBe('01a21a94-e1ed-7fff-bfff-ffffffffffff');
  expect(lastIdOf(seq) < lastIdOf(seq + 1)).toBe(true);
});

test.each([
  ['rawlog.>', true],
  ['>', true],
  ['rawlog.*.*', true],
  ['*.metric.*', true],
  ['rawlog.*', false],
  ['rawlog.metric.0ab', false],
  ['other.>', false],
])('a stream with the subject %s receives all metrics: %p', (subject, expected) => {
  expect(isCovered([subject], 'rawlog.metric.0ab')).toBe(expected);
});

describe.skipIf(!hasNats)('the NATS sink', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let nats: Nats;
  const opened: Sink[] = [];
  beforeAll(async () => {
    folder = temporaryFolder();
    nats = await Nats.start(folder.path);
  });
  afterAll(async () => {
    for (const sink of opened) await sink.close();
    await nats.kill();
    folder[Symbol.dispose]();
  });

  /** Opens a sink of a stream. */
  function open(stream: string): Sink {
    const sink = createNatsSink({ url: new URL(`nats://${nats.host}/${stream}`), node: 'node_1' });
    opened.push(sink);
    return sink;
  }

  const FIRST_SEQ = 892_541_115_990_016;

  /** Returns metrics with consecutive keys. */
  function metrics(from: number, to: number, userId = 'user-1', dataString = '/home'): LogRecord[] {
    return Array.from({ length: to - from }, (_, i) => {
      const seq = FIRST_SEQ + from + i;
      const id = lastIdOf(seq);
      const stamp = { seq, id, userId, happenedAt: 1_795_000_000_000_000, receivedAt: 1_795_000_000_000_001 };
      return { kind: 'metric', ...stamp, metricName: 'load', metricValue: i, dataString };
    });
  }

  const deliver = (sink: Sink, records: readonly LogRecord[]) =>
    sink.deliver({ kind: 'metric', node: 'node_1', records }, signal);
  const NOTHING = { rejected: [], postponed: [] };

  test('creates its stream, and stores each row once, however often and in whatever blocks it is delivered', async () => {
    const sink = open('once');
    await sink.prepare(signal);
    expect(await deliver(sink, metrics(0, 10))).toEqual(NOTHING);
    expect(await deliver(sink, metrics(5, 15))).toEqual(NOTHING);
    const again = open('once');
    await again.prepare(signal);
    expect(await deliver(again, metrics(0, 15))).toEqual(NOTHING);
    const messages = await nats.messages('once');
    expect(messages.map(({ id }) => id).sort()).toEqual(metrics(0, 15).map(({ id }) => id));
    expect(messages[0]).toEqual({
      subject: subjectOf('once', 'metric', 'user-1'),
      id: lastIdOf(FIRST_SEQ),
      body: {
        ...{ id: lastIdOf(FIRST_SEQ), user_id: 'user-1' },
        ...{ timestamp: '2026-11-18T11:06:40Z', received_at: '2026-11-18T11:06:40.000001Z' },
        ...{ metric_name: 'load', metric_value: 0, data_string: '/home' },
      },
    });
  });

  test('rejects a row that is too large, and stores its neighbors', async () => {
    const sink = open('large');
    await sink.prepare(signal);
    const { max_payload } = await nats.manage(async (manager) => {
      await manager.streams.update('large', { max_msg_size: 2_000 });
      return { max_payload: 1_048_576 };
    });
    const large = metrics(1, 2, 'user-1', 'x'.repeat(3_000));
    const larger = metrics(2, 3, 'user-1', 'x'.repeat(max_payload));
    const outcome = await deliver(sink, [...metrics(0, 1), ...large, ...larger, ...metrics(3, 5)]);
    expect(outcome.postponed).toEqual([]);
    expect(outcome.rejected.map(({ id, reason }) => [id, reason])).toEqual([
      [large[0]?.id ?? '', "larger than the stream's max_msg_size"],
      [larger[0]?.id ?? '', `larger than the server's max_payload of ${max_payload} bytes`],
    ]);
    expect(await nats.count('large')).toBe(3);
  });

  test('erases the rows of a user up to the cutoff', async () => {
    const sink = open('erased');
    await sink.prepare(signal);
    await deliver(sink, [...metrics(0, 3), ...metrics(3, 5, 'user-2'), ...metrics(5, 7)]);
    const cutoffSeq = FIRST_SEQ + 5;
    const erasure = { userId: 'user-1', cutoffSeq, cutoffId: lastIdOf(cutoffSeq) };
    await sink.erase(erasure, signal);
    await sink.erase(erasure, signal);
    const kept = [...metrics(3, 5, 'user-2'), ...metrics(6, 7)];
    expect((await nats.messages('erased')).map(({ id }) => id)).toEqual(kept.map(({ id }) => id));
  });

  test('erases rows between the messages of another publisher, which it keeps', async () => {
    const sink = open('shared');
    await sink.prepare(signal);
    const subject = subjectOf('shared', 'metric', 'user-1');
    const others = ['', 'not JSON', 'null', '5', '"text"', '[]', '{}', '{"user_id":"user-2"}', '\xff{'];
    const texts = others.map((text) => Buffer.from(text, 'latin1'));
    for (const [i, text] of texts.entries()) await nats.publish(subject, text, `0-other-${i}`);
    await deliver(sink, metrics(0, 2));
    await nats.publish(subject, texts[1] ?? Buffer.alloc(0), '0-other-last');
    await sink.erase({ userId: 'user-1', cutoffSeq: FIRST_SEQ + 9, cutoffId: lastIdOf(FIRST_SEQ + 9) }, signal);
    expect((await nats.ids('shared')).every((id) => id.startsWith('0-other-'))).toBe(true);
    expect(await nats.count('shared')).toBe(others.length + 1);
  });

  test('rejects a stream that cannot store its messages, and reports one that is full', async () => {
    await nats.manage(async (manager) => {
      await manager.streams.add({ name: 'narrow', subjects: ['narrow.metric.*'] });
      await manager.streams.add({ name: 'silent', subjects: ['silent.>'], no_ack: true });
      await manager.streams.add({ name: 'full', subjects: ['full.>'], max_msgs: 2, discard: 'new' as never });
    });
    for (const stream of ['narrow', 'silent']) {
      await expect(open(stream).prepare(signal)).rejects.toBeInstanceOf(SinkConfigurationError);
    }
    const full = open('full');
    await full.prepare(signal);
    await expect(deliver(full, metrics(0, 3))).rejects.toBeInstanceOf(SinkUnavailableError);
    await nats.manage((manager) => manager.streams.update('full', { max_msgs: -1 }));
    expect(await deliver(full, metrics(0, 3))).toEqual(NOTHING);
    expect(await nats.count('full')).toBe(3);
  });

  test('fails while the server is down, and continues with the same sink', async () => {
    const sink = open('down');
    await sink.prepare(signal);
    await nats.kill();
    await expect(deliver(sink, metrics(0, 3))).rejects.toBeInstanceOf(Error);
    await nats.start();
    await eventually(() =>
      sink.prepare(signal).then(
        () => true,
        () => false,
      ),
    );
    expect(await deliver(sink, metrics(0, 3))).toEqual(NOTHING);
    expect(await nats.count('down')).toBe(3);
  });
});
