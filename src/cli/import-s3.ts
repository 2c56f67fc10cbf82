import { closeSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { SingleBar } from 'cli-progress';
import type { Config } from '../config.ts';
import { parseExported, recordJson } from '../export/encode.ts';
import { parseS3Prefix, s3UrlOf } from '../formats/s3.ts';
import type { ParquetSource } from '../forwarding/s3/parquet/footer.ts';
import { type ParquetRow, readParquet } from '../forwarding/s3/parquet/reader.ts';
import { EXPORT_COLUMNS, recordRowOf } from '../forwarding/s3/parquet-rows.ts';
import { readFreeBytes } from '../free-bytes.ts';
import { type ObjectStore, openObjectStore, type StoredObject } from '../object-store.ts';
import { UsageError } from './command.ts';
import { MAX_LINE_BYTES } from './import-input.ts';
import { s3AccessFor } from './s3.ts';
import { createUnlinkedFile } from './unlinked-file.ts';

/** Bytes of lines that are written at once. */
const WRITE_BYTES = 1024 ** 2;
/** Objects of up to this size are read with one request. */
const WHOLE_BYTES = 4 * 1024 ** 2;

/**
 * Downloads the Parquet objects of a prefix, as records in JSON lines. Objects are in the order of their keys.
 *
 * @returns the path of the lines, until it is disposed of
 * @throws {UsageError} if the address or the credentials are invalid
 * @throws {Error} if there is no object, or an object has a row that is not an exported record
 */
export async function downloadRecords(url: string, config: Config): Promise<{ readonly path: string } & Disposable> {
  const { bucket, key: prefix } = parsePrefix(url);
  const store = openObjectStore(bucket, s3AccessFor(url, config));
  const latest = Date.now() * 1000 + config.maxClockSkewUs;
  const objects: StoredObject[] = [];
  for await (const object of store.listAll(prefix)) {
    if (object.key.endsWith('.parquet')) objects.push(object);
  }
  if (objects.length === 0) throw new Error(`There are no Parquet objects in ${s3UrlOf({ bucket, key: prefix })}.`);
  const folder = dirname(config.databasePath);
  const output = createUnlinkedFile(folder);
  const bar = new SingleBar({ format: '{bar} {percentage}% downloaded | {eta_formatted}', stream: process.stderr });
  bar.start(
    objects.reduce((sum, { bytes }) => sum + bytes, 0),
    0,
  );
  try {
    for (const object of objects) {
      await downloadObject(object);
      bar.increment(object.bytes);
    }
  } catch (error) {
    closeSync(output);
    throw error;
  } finally {
    bar.stop();
  }
  return { path: `/dev/fd/${output}`, [Symbol.dispose]: () => closeSync(output) };

  async function downloadObject(object: StoredObject): Promise<void> {
    const place = s3UrlOf({ bucket, key: object.key });
    const batches = readParquet(sourceOf(store, object), EXPORT_COLUMNS);
    for (let number = 1; ; ) {
      const { value: rows, done } = await batches.next().catch((error: Error) => {
        throw new Error(`${place} cannot be imported: ${error.message}. Nothing was imported.`);
      });
      if (done) break;
      let lines = '';
      for (const row of rows) {
        lines += `${lineOf(row, `Row ${number++} of ${place}`)}\n`;
        if (lines.length < WRITE_BYTES) continue;
        write(lines, place);
        lines = '';
      }
      write(lines, place);
    }
    // rows that were read with several requests could be of different objects
    if (object.bytes > WHOLE_BYTES && (await store.find(object.key))?.etag !== object.etag) {
      throw new Error(`${place} was replaced while it was read. Nothing was imported. Run the command again.`);
    }
  }

  function write(lines: string, place: string): void {
    // a file of a few kilobytes can have rows for any disk
    if (readFreeBytes(folder) - lines.length < config.minFreeBytes) {
      throw new Error(
        `The disk of the database has no room for the rows of ${place}: less than MIN_FREE_BYTES would remain free. Nothing was imported.`,
      );
    }
    writeAll(output, lines);
  }

  function lineOf(row: ParquetRow, place: string): string {
    const kind = Object.hasOwn(row, 'metric_name') ? 'metric' : 'analytics';
    const length = Object.values(row).reduce<number>((sum, value) => sum + String(value).length, 0);
    if (length > MAX_LINE_BYTES) {
      throw new Error(`${place} is longer than ${MAX_LINE_BYTES} bytes. Nothing was imported.`);
    }
    const record = recordRowOf(kind, row);
    // line breaks between the tokens of an event's data mean nothing, and would end the line
    const text = record && recordJson(kind, record).replace(/[\r\n]/g, ' ');
    const parsed = text === undefined ? 'its columns are not those of an export' : parseExported(text, latest);
    if (text !== undefined && typeof parsed !== 'string') return text;
    throw new Error(`${place} is not an exported record: ${parsed}. Nothing was imported.`);
  }
}

/** Returns an object as the source of a Parquet file. */
function sourceOf(store: ObjectStore, object: StoredObject): ParquetSource {
  const { bytes } = object;
  let whole: Promise<Uint8Array> | undefined;
  return {
    bytes,
    async read(start, end) {
      if (bytes > WHOLE_BYTES) return collect(store, object, start, end);
      whole ??= collect(store, object, 0, bytes);
      return (await whole).subarray(start, end);
    },
  };
}

async function collect(store: ObjectStore, object: StoredObject, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  let at = 0;
  for await (const chunk of store.read(object, { start, end })) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function parsePrefix(url: string): ReturnType<typeof parseS3Prefix> {
  try {
    return parseS3Prefix(url);
  } catch (error) {
    throw new UsageError(`The s3:// address ${(error as Error).message}.`); // it throws nothing else
  }
}

function writeAll(file: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}
