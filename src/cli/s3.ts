import type { Config } from '../config.ts';
import { isS3Url, missingCredentials, parseS3Object, type S3Access } from '../formats/s3.ts';
import type { SettingName } from '../settings.ts';
import { UsageError } from './command.ts';

/** The settings that reach S3. */
export const S3_SETTINGS: readonly SettingName[] = [
  'S3_ENDPOINT',
  'S3_REGION',
  'S3_ACCESS_KEY_ID',
  'S3_SECRET_ACCESS_KEY',
  'S3_SESSION_TOKEN',
];

/** Returns what is wrong with a file argument that is an address in S3, without repeating it; undefined for a path. */
export function s3Problem(file: string): string | undefined {
  if (!isS3Url(file)) return undefined;
  try {
    parseS3Object(file);
    return undefined;
  } catch (error) {
    return `The s3:// address ${(error as Error).message}`; // it throws nothing else
  }
}

/**
 * Returns how to reach S3 for a file argument.
 *
 * @throws {UsageError} if it is an address in S3, and there are no credentials or they are invalid
 */
export function s3AccessFor(file: string, { s3, s3Issues }: Pick<Config, 's3' | 's3Issues'>): S3Access {
  if (isS3Url(file) && s3Issues.length > 0) throw new UsageError(s3Issues.join('\n'));
  const missing = isS3Url(file) ? missingCredentials(s3) : [];
  if (missing.length > 0) throw new UsageError(`${missing.join(' and ')} should be set to use s3:// addresses.`);
  return s3;
}
