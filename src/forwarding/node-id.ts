import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { parseNodeId } from '../formats/forward-url.ts';
import { readOrCreateSecretFile } from '../secret-file.ts';

/** Random bytes of a generated ID: two of a thousand nodes share one with a probability of 10^-9. */
const RANDOM_BYTES = 6;

/** Returns the path of the file with the generated NODE_ID of a database. */
export function nodeIdPath(databasePath: string): string {
  return join(dirname(databasePath), 'node-id');
}

/**
 * Returns NODE_ID, or the generated one. It is in a file next to the database, not in it: the copy of a database on another
 * machine is another node.
 *
 * @param configured NODE_ID; undefined if it is not set
 * @throws {Error} if the file cannot be read or created, or contains something else
 */
export function readNodeId(configured: string | undefined, databasePath: string): string {
  if (configured !== undefined) return configured;
  const path = nodeIdPath(databasePath);
  const { content } = readOrCreateSecretFile(path, () => `node-${randomBytes(RANDOM_BYTES).toString('hex')}`);
  try {
    return parseNodeId(content);
  } catch (error) {
    throw new Error(`the ID in ${path} ${(error as Error).message}`); // nothing else is thrown
  }
}
