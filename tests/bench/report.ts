import os from 'node:os';
import { COMMAND, TARGET } from '../harness/target.ts';
import { isPinned } from './machine.ts';
import type { Pair } from './pairs.ts';
import { spread } from './statistics.ts';

/** The cores that the processes of a benchmark run on, by what it pins. */
const CORES = {
  both: 'server on core 0, load generator on core 1',
  load: 'server on any core, load generator on core 1',
} as const;

/**
 * Prints the head of a report: what is compared, the machine, and the program under test.
 *
 * @param pinned the processes that the benchmark pins to cores; 'none' if it pins none; undefined without a server
 */
export function printHeader(title: string, pinned?: keyof typeof CORES | 'none'): void {
  const [cpu] = os.cpus();
  const memoryGigabytes = (os.totalmem() / 2 ** 30).toFixed(0);
  console.log(title);
  console.log(
    `machine: ${os.cpus().length} cores (${cpu?.model ?? 'unknown CPU'}), ${memoryGigabytes} GB memory, ${os.type()} ${os.release()}, Bun ${Bun.version}`,
  );
  if (pinned) console.log(`program: ${TARGET} (${COMMAND.join(' ')})`);
  if (pinned && pinned !== 'none')
    console.log(`cores:   ${isPinned ? CORES[pinned] : 'not pinned: server and load generator share all cores'}`);
  console.log();
}

/** Prints rows of cells in aligned columns, indented by two spaces. The first row contains the column titles. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows)
    console.log(`  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('   ')}`.trimEnd());
}

/** Returns the row of a table that compares pairs of results: the first result, the second, and their ratio. */
export function comparisonRow<Key extends string>(
  label: string,
  pairs: readonly Pair<Readonly<Record<Key, number>>, Readonly<Record<Key, number>>>[],
  key: Key,
  digits?: number,
): string[] {
  const ours = pairs.map(([our]) => our[key]);
  const theirs = pairs.map(([, their]) => their[key]);
  const ratios = pairs.map(([our, their]) => our[key] / their[key]);
  return [label, spread(ours, digits), spread(theirs, digits), spread(ratios)];
}
