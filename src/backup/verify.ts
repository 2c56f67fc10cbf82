import type { Database } from '../storage/database.ts';
import { openDisposable } from '../storage/database.ts';
import { readContents } from '../storage/snapshot.ts';
import { type Verification, verifyDatabase } from '../storage/verify.ts';
import { extractDatabase } from './extract.ts';
import type { Manifest } from './manifest.ts';
import { preparePrivateCopy } from './private-copy.ts';

/** The result of verifying a backup. */
export interface BackupVerification {
  readonly manifest: Manifest;
  /** The verification of its database, with the differences from the manifest among the problems. */
  readonly verification: Verification;
}

/** Receives the progress of a verification. */
export interface VerificationProgress {
  /** Called with the number of bytes of the backup read so far. */
  readonly onBytes: (total: number) => void;
  /** Called once the bytes are checked, with the manifest. */
  readonly onManifest: (manifest: Manifest) => void;
  /** Called with the number of rows in each batch that was verified. */
  readonly onRows: (rows: number) => void;
}

/**
 * Verifies a backup: all its bytes, then its database as {@link verifyDatabase} does, and what the manifest says about
 * it. The database is extracted into a temporary file, which is deleted as soon as it is open.
 *
 * @param source the bytes of the backup
 * @param folder the folder of the temporary file
 * @throws {DamagedBackupError} if bytes are damaged
 * @throws {UnusableDatabaseError} if the database was written by a newer version, or has a modified schema
 */
export async function verifyBackup(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  { onBytes, onManifest, onRows }: VerificationProgress,
): Promise<BackupVerification> {
  const copy = preparePrivateCopy(folder);
  const manifest = await extractDatabase(source, copy, onBytes);
  let differences: string[] = [];
  const client = openDisposable(copy, (unchanged) => {
    differences = differencesFrom(manifest, unchanged);
  });
  try {
    onManifest(manifest);
    const verification = verifyDatabase(client, onRows);
    return { manifest, verification: { ...verification, problems: [...verification.problems, ...differences] } };
  } finally {
    client.close();
  }
}

/** Returns how a database differs from what the manifest says about it. A migration may change what the manifest describes. */
export function differencesFrom({ rows, ledger, newest_id: newestId }: Manifest, client: Database): string[] {
  const found = readContents(client);
  const pairs = [
    ['metrics', found.rows.metrics, rows.metrics],
    ['events', found.rows.analytics, rows.analytics],
    ['newest ID', found.newestId, newestId],
    ['ledger', JSON.stringify(found.ledger), JSON.stringify(ledger)],
  ] as const;
  return pairs.flatMap(([name, inDatabase, inManifest]) =>
    inDatabase === inManifest
      ? []
      : [`The database differs from the manifest: ${name} is ${inDatabase}, not ${inManifest}.`],
  );
}
