import { createHash } from 'node:crypto';
import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';

/*
 * The manifest of a backup: what the backup contains, with checksums. It proves that the backup is intact, not who made
 * it: anybody who can write the file can also write a matching manifest.
 */

/** The name of the manifest in the archive, where it comes first. */
export const MANIFEST_NAME = 'manifest.json';
/** Size of a part of the database in bytes; the last one can be smaller. */
export const PART_BYTES = 64 * 1024 ** 2;
/** Largest manifest that is read, in bytes: 400,000 parts, which is a database of 25 TB. */
export const MAX_MANIFEST_BYTES = 64 * 1024 ** 2;

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });

const manifestSchema = Type.Object(
  {
    format: Type.Literal('rawlog-backup'),
    format_version: Type.Literal(1),
    /** The version of the program that made the backup. */
    rawlog_version: Type.String(),
    /** When the snapshot was taken, in RFC 3339. */
    created_at: Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$' }),
    /** When the last applied migration was generated, in milliseconds since 1970. */
    schema_version: Count,
    page_size: Count,
    database_bytes: Count,
    /** Rows, excluding erased and deleted ones. */
    rows: Type.Object({ metrics: Count, analytics: Count }, { additionalProperties: false }),
    /** The counts of the ledger, by name. */
    ledger: Type.Record(Type.String(), Count),
    /** The ID of the newest row; null if there are none. */
    newest_id: Type.Union([Type.String(), Type.Null()]),
    /** The fingerprint of the key of the erasure list; null if there was no key. */
    erasure_key: Type.Union([Type.String(), Type.Null()]),
    parts: Type.Array(
      Type.Object({ name: Type.String(), bytes: Count, sha256: Sha256 }, { additionalProperties: false }),
    ),
    /** SHA-256 of the manifest itself, with zeros in place of this field. */
    sha256: Sha256,
  },
  { additionalProperties: false },
);
const isManifest = TypeCompiler.Compile(manifestSchema);

/** A manifest. Its field names are those of the JSON. */
export type Manifest = Static<typeof manifestSchema>;

/** Returns the JSON of a manifest, with its own checksum. */
export function encodeManifest(content: Omit<Manifest, 'sha256'>): Buffer {
  const withSum = (sha256: string) => Buffer.from(`${JSON.stringify({ ...content, sha256 }, null, 2)}\n`);
  return withSum(sha256Of(withSum('0'.repeat(64))));
}

/** Parses a manifest. Returns undefined if any of its bytes is not what {@link encodeManifest} writes. */
export function decodeManifest(bytes: Uint8Array): Manifest | undefined {
  let manifest: unknown;
  try {
    manifest = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
  if (!isManifest.Check(manifest)) return undefined;
  const { sha256: _, ...content } = manifest;
  if (!encodeManifest(content).equals(bytes)) return undefined;
  return hasPlannedParts(manifest) ? manifest : undefined;
}

/** Returns the names and sizes of the parts of a database. Their order is also the alphabetical one. */
export function planParts(databaseBytes: number): { name: string; bytes: number }[] {
  const count = Math.ceil(databaseBytes / PART_BYTES);
  const digits = Math.max(3, String(count - 1).length);
  return Array.from({ length: count }, (_, index) => ({
    name: `rawlog.db.${String(index).padStart(digits, '0')}`,
    bytes: Math.min(PART_BYTES, databaseBytes - index * PART_BYTES),
  }));
}

/** Returns the time of the files in the archive, in seconds since 1970. */
export function mtimeOf({ created_at }: Pick<Manifest, 'created_at'>): number {
  return Math.floor(Date.parse(created_at) / 1000);
}

function hasPlannedParts({ parts, database_bytes, created_at }: Manifest): boolean {
  const planned = planParts(database_bytes);
  return (
    Number.isFinite(Date.parse(created_at)) &&
    planned.length === parts.length &&
    planned.every(({ name, bytes }, i) => parts[i]?.name === name && parts[i].bytes === bytes)
  );
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
