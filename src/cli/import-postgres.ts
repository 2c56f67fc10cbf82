import type { Config } from '../config.ts';
import { connectToServer } from '../control/client.ts';
import { parseExported, recordJson } from '../export/encode.ts';
import { isPostgresUrl, type PostgresTarget, parsePostgresUrl } from '../formats/postgres-url.ts';
import { type OriginalRow, type OriginalRows, readOriginalRows } from '../forwarding/postgres/original-rows.ts';
import { KINDS, type Kind, MAX_SOURCE_ID_LENGTH, wrapValue } from '../records.ts';
import type { ImportOutcome } from '../storage/import.ts';
import { idOfSource } from '../storage/record-sources.ts';
import { type ImportSession, importHere, type RecordText } from './import-here.ts';
import { importIntoServer } from './import-into-server.ts';
import { openOffline } from './open-database.ts';
import { createProgressBar } from './progress-bar.ts';

/** Longest text of a row, in bytes: with escapes, a line may be twice as long. */
const MAX_ROW_BYTES = 8 * 1024 ** 2;
/** Maximum size of a batch: records, and characters of their lines. */
const BATCH_ROWS = 1_000;
const BATCH_LENGTH = 1024 ** 2;
/** Maximum number of IDs listed per reason. */
const MAX_LISTED_IDS = 5;
/** IDs that can be printed as they are. */
const PLAIN_ID = /^[\w-]{1,64}$/;

/** What became of the rows of a PostgreSQL database. */
export interface PostgresImport {
  readonly outcomes: Record<ImportOutcome, number>;
  /** Rows that rawlog does not accept, by reason: how many, and the IDs of the first. */
  readonly invalid: ReadonlyMap<string, { readonly rows: number; readonly ids: readonly string[] }>;
  /** Rows that were created after the import had begun. */
  readonly newer: number;
}

/** Returns what is wrong with the URL of a database on the command line, without repeating it; undefined for a file. */
export function postgresProblem(text: string): string | undefined {
  if (!isPostgresUrl(text)) return undefined;
  try {
    const { password } = parsePostgresUrl(text);
    return password === undefined
      ? undefined
      : 'The URL contains a password, which every user of this machine can see. Remove it, and use --password-file, PGPASSFILE or PGPASSWORD';
  } catch (error) {
    return `The URL of the database ${(error as Error).message}`; // it throws nothing else
  }
}

/**
 * Imports the rows of the original service from PostgreSQL, the oldest first. Those that were imported before are not read.
 *
 * @param password instead of that of PGPASSFILE or PGPASSWORD
 * @throws {Error} with a message for the operator. The records stored so far stay
 */
export async function importPostgres(
  url: string,
  password: string | undefined,
  config: Config,
): Promise<PostgresImport> {
  const target: PostgresTarget = { ...parsePostgresUrl(url), ...(password !== undefined && { password }) };
  using server = await connectToServer(config.databasePath);
  const begin = Date.now();
  const latest = begin * 1000 + config.maxClockSkewUs;
  return readOriginalRows(target, begin, async (rows) => {
    const importAll = async (session: ImportSession) => {
      const importer = createImport(session, latest);
      for (const kind of KINDS) await importer.importKind(kind, rows);
      return importer.result();
    };
    if (server) return await importIntoServer(server, importAll);
    using database = await openOffline(config, { create: true });
    return await importHere(database, importAll);
  });
}

function createImport(session: ImportSession, latest: number) {
  const outcomes: PostgresImport['outcomes'] = { stored: 0, identical: 0, different: 0, occupied: 0, erased: 0 };
  const invalid = new Map<string, { rows: number; ids: string[] }>();
  let newer = 0;
  let batch: RecordText[] = [];
  let batchLength = 0;

  async function flush(): Promise<void> {
    const outcomesOfBatch = batch.length > 0 ? await session.store(batch) : [];
    for (const outcome of outcomesOfBatch) outcomes[outcome]++;
    batch = [];
    batchLength = 0;
  }

  async function add(record: RecordText): Promise<void> {
    batch.push(record);
    batchLength += record.text.length;
    if (batch.length === BATCH_ROWS || batchLength >= BATCH_LENGTH) await flush();
  }

  function addInvalid(id: string, reason: string): void {
    const found = invalid.get(reason) ?? { rows: 0, ids: [] };
    invalid.set(reason, found);
    found.rows++;
    if (found.ids.length < MAX_LISTED_IDS && PLAIN_ID.test(id)) found.ids.push(id);
  }

  return {
    async importKind(kind: Kind, source: OriginalRows): Promise<void> {
      using bar = createProgressBar();
      const phase = kind === 'metric' ? 'importing metrics' : 'importing events';
      const counts = await source.count(kind);
      newer += counts.newer;
      let done = 0;
      for await (const ids of source.ids(kind)) {
        const missing = await session.missing(kind, ids);
        outcomes.identical += ids.length - missing.length;
        const wanted = missing.flatMap((i) => ids[i] ?? []);
        for await (const part of wanted.length > 0 ? source.rows(kind, wanted, MAX_ROW_BYTES) : []) {
          if ('tooLong' in part) {
            addInvalid(part.tooLong, `it is longer than ${MAX_ROW_BYTES} bytes`);
            continue;
          }
          for (const row of part) {
            const record = recordOf(kind, row, latest);
            if (typeof record === 'string') addInvalid(row.id, record);
            else await add(record);
          }
        }
        done += ids.length;
        bar.show({ phase, done, total: counts.older });
      }
      await flush();
    },
    result: (): PostgresImport => ({ outcomes, invalid, newer }),
  };
}

/** Converts a row of the original service to a record, or returns the reason why it is none. */
function recordOf(kind: Kind, row: OriginalRow, latest: number): RecordText | string {
  const { id, createdAt, updatedAt } = row;
  if (createdAt === null || updatedAt === null) return 'its time is infinite';
  if (createdAt < 0) return 'the time in its id is before 2020';
  if (id === '' || id.length > MAX_SOURCE_ID_LENGTH) return `its id is not of 1 to ${MAX_SOURCE_ID_LENGTH} characters`;
  if (kind === 'metric' && !Number.isFinite(row.value)) return 'its value is not a finite number';
  const json = typeof row.value === 'string' ? row.value : undefined;
  const isObject = json?.startsWith('{') ?? false;
  const dataForm = kind === 'metric' || isObject ? 'object' : json === undefined ? 'null' : 'value';
  const value = { object: row.value ?? 0, null: '{}', value: wrapValue(json ?? '') }[dataForm];
  const text = recordJson(kind, {
    seq: 0, // not a part of the text
    id: idOfSource(kind, id, Math.floor(createdAt / 1000)),
    user_id: row.userId,
    happened_at: createdAt,
    received_at: updatedAt,
    name: row.name,
    label: row.label ?? '',
    value,
    source: { id, isLabelNull: row.label === null, dataForm },
  });
  const record = parseExported(text, latest);
  return typeof record === 'string' ? record : { text, record };
}
