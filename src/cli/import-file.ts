import { closeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Config } from '../config.ts';
import { connectToServer } from '../control/client.ts';
import { type ImportSession, importHere } from './import-here.ts';
import { addOutcomes, checkLines, noOutcomes, type Outcomes, openInput, readBatches } from './import-input.ts';
import { importIntoServer } from './import-into-server.ts';
import { hasDatabase, openOffline } from './open-database.ts';

/**
 * Imports a file of exported records, after checking all of it.
 *
 * @throws {Error} with a message for the operator
 */
export async function importFile(file: string, config: Config): Promise<Outcomes> {
  const { databasePath, maxClockSkewUs } = config;
  using server = await connectToServer(databasePath);
  // opened first, so that a database in use is reported before anything is read
  using existing = !server && hasDatabase(databasePath) ? await openOffline(config) : undefined;
  const input = await openInput(file, dirname(databasePath));
  try {
    const latest = Date.now() * 1000 + maxClockSkewUs;
    const size = checkLines(input, latest);
    const storeAll = async (session: ImportSession) => {
      const outcomes = noOutcomes();
      for (const batch of readBatches(input, size, latest)) {
        const lines = batch.map(({ line }) => line);
        addOutcomes(outcomes, await session.store(batch), lines);
      }
      return outcomes;
    };
    if (server) return await importIntoServer(server, storeAll);
    using created = existing ? undefined : await openOffline(config, { create: true });
    const database = existing ?? created;
    if (!database) throw new Error('the database is not open'); // unreachable: one of the two is open
    return await importHere(database, storeAll);
  } finally {
    closeSync(input);
  }
}
