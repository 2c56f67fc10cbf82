import { expect, test } from 'bun:test';
import { createIdSource, type RecordId } from '../../src/ingest/ids.ts';
import { idOf } from '../../src/storage/row-form.ts';

const NOW = Date.UTC(2026, 10, 22, 12);
const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Returns the 60 bits of an ID before its random part, without the version. */
function timePart(id: string): number {
  const millisecond = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return (millisecond - Date.UTC(2020, 0, 1)) * 4096 + Number.parseInt(id.slice(15, 18), 16);
}

test('IDs are UUIDv7 with the time of the clock, and seq is their time part', () => {
  const next = createIdSource(() => NOW, 0);
  const { id, seq, randomPart } = next();
  expect(id).toMatch(UUID7);
  expect(idOf(seq, randomPart)).toBe(id);
  expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(NOW);
  expect(seq).toBe(timePart(id));
});

test('IDs increase across counter overflow, a clock that steps back, and a restart', () => {
  let clock = NOW;
  let next = createIdSource(() => clock, 0);
  const made: RecordId[] = [];
  for (let i = 0; i < 10_000; i++) made.push(next());
  clock -= 3600_000;
  for (let i = 0; i < 10_000; i++) made.push(next());
  next = createIdSource(() => clock, made.at(-1)?.seq ?? 0);
  for (let i = 0; i < 10; i++) made.push(next());
  clock = NOW + 1000;
  for (let i = 0; i < 10; i++) made.push(next());
  for (const [i, { id, seq, randomPart }] of made.entries()) {
    expect(id).toMatch(UUID7);
    expect(idOf(seq, randomPart)).toBe(id);
    expect(seq).toBe(timePart(id));
    if (i > 0) expect(seq).toBeGreaterThan(made[i - 1]?.seq ?? 0);
  }
  expect(new Set(made.map(({ id }) => id)).size).toBe(made.length);
});

test('seq is a safe integer until 2089', () => {
  const last = createIdSource(() => Date.UTC(2089, 0, 1), 0)();
  expect(Number.isSafeInteger(last.seq)).toBe(true);
});

test('every bit of the random part is evenly distributed', () => {
  const next = createIdSource(() => NOW, 0);
  const tails = Array.from({ length: 5000 }, () => BigInt(`0x${next().id.slice(19).replace('-', '')}`));
  for (let bit = 0n; bit < 62n; bit++) {
    const ones = tails.filter((tail) => (tail >> bit) & 1n).length;
    expect(ones).toBeWithin(2200, 2800); // 2500 ± 8 standard deviations
  }
});
