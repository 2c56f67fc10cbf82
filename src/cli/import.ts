import { createReadStream, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { SingleBar } from 'cli-progress';
import { parseExported } from '../export/encode.ts';
import type { LogRecord } from '../records.ts';
import { openStorage } from '../storage/database.ts';
import { createImporter } from '../storage/import.ts';
import { runJob } from '../storage/job.ts';
import { openReader } from '../storage/reader.ts';
import type { CliCommand } from './command.ts';

/** Records of one transaction. */
const BATCH = 10_000;

/** Stores exported records again, under their ids. */
export const importCommand: CliCommand = {
  name: 'import',
  summary:
    'store exported records (NDJSON) under their ids; those that are there already stay; the server must be stopped',
  argument: { form: '<file>', help: 'a file that "rawlog export" has written, or GET /api/export/…' },
  async run({ config }, _options, file) {
    const path = config().databasePath;
    // all of it is read before any of it is stored
    await eachLine(file, 'checked', () => {});
    const storage = openStorage(path);
    const importer = createImporter(storage.client);
    let imported = 0;
    let present = 0;
    const conflicts: number[] = [];
    try {
      let batch: { line: number; record: LogRecord }[] = [];
      const store = () => {
        for (const [i, outcome] of importer.store(batch.map(({ record }) => record)).entries()) {
          if (outcome === 'stored') imported++;
          else if (outcome === 'present') present++;
          else conflicts.push(batch[i]?.line ?? 0);
        }
        batch = [];
      };
      await eachLine(file, 'stored', (record, line) => {
        batch.push({ line, record });
        if (batch.length === BATCH) store();
      });
      store();
      // rows that come in no order are moved within the file, and old copies stay: an erasure would not find them
      if (imported > 0) storage.client.run('VACUUM');
      const reader = openReader(path);
      runJob(reader.store.finishRebuild());
      runJob(reader.store.catchUp());
      runJob(reader.store.seal());
      reader.close();
    } finally {
      storage.close();
    }
    console.log(`Imported ${imported} records; ${present} were there already.`);
    if (conflicts.length === 0) return 0;
    console.error(
      `${conflicts.length} records were not stored: other records have their place in time. The first is in line ${conflicts[0]}.`,
    );
    return 1;
  },
};

/**
 * Reads the records of a file.
 *
 * @throws for the first line that is no exported record
 */
async function eachLine(file: string, doing: string, visit: (record: LogRecord, line: number) => void): Promise<void> {
  const bar = new SingleBar({ format: `{bar} {percentage}% ${doing} | {eta_formatted}`, stream: process.stderr });
  const input = createReadStream(file);
  bar.start(statSync(file).size, 0);
  try {
    let number = 0;
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      if (line.trim() === '') continue;
      const record = parseExported(line);
      if (typeof record === 'string') throw new Error(`Line ${number} is no exported record: ${record}`);
      visit(record, number);
      if (number % 1000 === 0) bar.update(input.bytesRead);
    }
    bar.update(input.bytesRead);
  } finally {
    bar.stop();
  }
}
