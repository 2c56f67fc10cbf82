import { isIP } from 'node:net';

/*
 * Addresses in S3: s3://BUCKET/NAME. Only plain characters are accepted, so that no service and no shell treats a name
 * in its own way.
 */

/** The names of general purpose buckets (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html). */
const BUCKET = /^[a-z\d](?:[a-z\d-]|\.(?=[a-z\d]))+[a-z\d]$/;
const SEGMENT = /^[\w.-]+$/;
/** Maximum length of an object's key (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html). */
const MAX_KEY_LENGTH = 1024;
/** Room that a prefix leaves for the names of objects. */
const NAME_LENGTH = 128;

/** An object in S3, or all objects that begin with a prefix: the key is then empty or ends with a slash. */
export interface S3Location {
  readonly bucket: string;
  readonly key: string;
}

/** How to reach S3. What is undefined has the default of Amazon S3. */
export interface S3Access {
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  readonly accessKeyId: string | undefined;
  readonly secretAccessKey: string | undefined;
  readonly sessionToken: string | undefined;
}

/** Returns whether a text is meant as an address in S3, valid or not. */
export function isS3Url(text: string): boolean {
  return /^s3:/i.test(text);
}

/** Returns the address of an object, or of a prefix. */
export function s3UrlOf({ bucket, key }: S3Location): string {
  return `s3://${bucket}/${key}`;
}

/**
 * Parses the address of an object.
 *
 * @throws {Error} with a message that completes a sentence; it does not repeat the text, which may contain credentials
 */
export function parseS3Object(text: string): S3Location {
  const location = parseS3Url(text);
  if (location.key === '') throw new Error('should name an object: s3://BUCKET/NAME');
  return location;
}

/**
 * Parses the address of a prefix. The key of the result ends with a slash, unless it is empty.
 *
 * @throws {Error} as {@link parseS3Object} does
 */
export function parseS3Prefix(text: string): S3Location {
  const { bucket, key } = parseS3Url(text.replace(/\/$/, ''));
  if (key.length > MAX_KEY_LENGTH - NAME_LENGTH) throw new Error('should be shorter');
  return { bucket, key: key === '' ? '' : `${key}/` };
}

/** Returns the prefix that an object is in. */
export function s3FolderOf({ bucket, key }: S3Location): S3Location {
  return { bucket, key: key.slice(0, key.lastIndexOf('/') + 1) };
}

function parseS3Url(text: string): S3Location {
  if (text.includes('@')) {
    throw new Error('should not contain credentials; set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY');
  }
  const [, bucket, , key = ''] = /^s3:\/\/([^/]+)(\/(.*))?$/.exec(text) ?? [];
  if (bucket === undefined) throw new Error('should be s3://BUCKET/NAME');
  if (!BUCKET.test(bucket) || bucket.length > 63 || isIP(bucket) !== 0) {
    throw new Error('should name a bucket of 3 to 63 lowercase letters, digits, dots and hyphens');
  }
  const segments = key === '' ? [] : key.split('/');
  if (segments.some((segment) => !SEGMENT.test(segment) || /^\.+$/.test(segment))) {
    throw new Error('should contain only letters, digits, dots, hyphens and underscores between single slashes');
  }
  if (key.length > MAX_KEY_LENGTH) throw new Error('should be shorter');
  return { bucket, key };
}

/** Parses the URL of a service that speaks the S3 protocol. */
export function parseS3Endpoint(text: string): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new Error('should be a URL such as https://s3.example.com');
  }
  if (url.username !== '' || url.password !== '') {
    throw new Error('should not contain credentials; set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY');
  }
  return text.replace(/\/+$/, '');
}

/** Parses the name of a region. */
export function parseS3Region(text: string): string {
  if (!/^[a-z\d-]{1,64}$/i.test(text)) throw new Error('should be a region such as eu-central-1, or auto');
  return text;
}

/** Parses a part of the credentials. The message of an error does not repeat it. */
export function parseS3Credential(text: string): string {
  if (!/^[\x21-\x7e]+$/.test(text)) throw new Error('should contain only visible ASCII characters');
  return text;
}

/** Returns the settings of the credentials that are missing. */
export function missingCredentials({ accessKeyId, secretAccessKey }: S3Access) {
  return [
    ...(accessKeyId === undefined ? (['S3_ACCESS_KEY_ID'] as const) : []),
    ...(secretAccessKey === undefined ? (['S3_SECRET_ACCESS_KEY'] as const) : []),
  ];
}
