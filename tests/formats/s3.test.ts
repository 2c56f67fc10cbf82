import { describe, expect, test } from 'bun:test';
import { loadConfig } from '../../src/config.ts';
import { isS3Url, parseS3Endpoint, parseS3Object, parseS3Prefix, s3FolderOf } from '../../src/formats/s3.ts';
import { SECRET } from '../harness/target.ts';

const load = (env: Record<string, string>) =>
  loadConfig({ flags: {}, env: { JWT_SECRET: SECRET, ...env }, readFile: () => 'from-a-file' });

describe('addresses in S3', () => {
  test('name an object, or a prefix that ends with a slash', () => {
    expect(parseS3Object('s3://my.bucket-1/a/b_c.tar')).toEqual({ bucket: 'my.bucket-1', key: 'a/b_c.tar' });
    expect(s3FolderOf(parseS3Object('s3://my-bucket/a/b.tar'))).toEqual({ bucket: 'my-bucket', key: 'a/' });
    expect(s3FolderOf(parseS3Object('s3://my-bucket/b.tar'))).toEqual({ bucket: 'my-bucket', key: '' });
    for (const url of ['s3://my-bucket/a', 's3://my-bucket/a/']) {
      expect(parseS3Prefix(url)).toEqual({ bucket: 'my-bucket', key: 'a/' });
    }
    for (const url of ['s3://my-bucket', 's3://my-bucket/']) {
      expect(parseS3Prefix(url)).toEqual({ bucket: 'my-bucket', key: '' });
    }
    expect(['s3:x', 'S3://x', 's3.tar', './s3:x', 'as3://x'].map(isS3Url)).toEqual([true, true, false, false, false]);
  });

  test.each([
    ['s3://my-bucket', 'name an object'],
    ['s3://my-bucket/a/', 'single slashes'],
    ['s3:/my-bucket/a', 's3://BUCKET/NAME'],
    ['S3://my-bucket/a', 's3://BUCKET/NAME'],
    ['s3://My-Bucket/a', 'name a bucket'],
    ['s3://ab/a', 'name a bucket'],
    ['s3://a..b/a', 'name a bucket'],
    ['s3://-ab/a', 'name a bucket'],
    ['s3://127.0.0.1/a', 'name a bucket'],
    [`s3://${'a'.repeat(64)}/a`, 'name a bucket'],
    ['s3://my-bucket//a', 'single slashes'],
    ['s3://my-bucket/../a', 'single slashes'],
    ['s3://my-bucket/a?versionId=1', 'letters'],
    ['s3://my-bucket/a%2fb', 'letters'],
    [`s3://my-bucket/${'a'.repeat(1025)}`, 'be shorter'],
    ['s3://AKIA:se/cret@my-bucket/a', 'not contain credentials'],
    ['s3://my-bucket/a@b', 'not contain credentials'],
  ])('are rejected: %s', (url, words) => {
    expect(() => parseS3Object(url)).toThrow(words);
    expect(() => parseS3Object(url)).not.toThrow('cret');
  });
});

test('an endpoint is an http or https URL without credentials', () => {
  expect(parseS3Endpoint('https://s3.example.com/')).toBe('https://s3.example.com');
  expect(parseS3Endpoint('http://127.0.0.1:9000/storage/v1/s3')).toBe('http://127.0.0.1:9000/storage/v1/s3');
  for (const url of ['s3.example.com', 'ftp://s3.example.com', 'https://s3.example.com/?x', 'https://']) {
    expect(() => parseS3Endpoint(url)).toThrow('should be a URL');
  }
  expect(() => parseS3Endpoint('https://key:secret@s3.example.com')).toThrow('should not contain credentials');
});

describe('the settings of S3', () => {
  test('come from variables with two names, of which S3_ takes precedence', () => {
    const shared = { AWS_ACCESS_KEY_ID: 'shared', AWS_SECRET_ACCESS_KEY: 'shared', AWS_REGION: 'eu-central-1' };
    const own = { S3_ACCESS_KEY_ID: 'own', S3_SECRET_ACCESS_KEY_FILE: '/key' };
    expect(load({ ...shared, ...own }).s3).toMatchObject({
      ...{ accessKeyId: 'own', secretAccessKey: 'from-a-file', region: 'eu-central-1', endpoint: undefined },
    });
    expect(load(shared).s3).toMatchObject({ accessKeyId: 'shared', secretAccessKey: 'shared' });
  });

  test('are reported together if they are invalid or missing', () => {
    expect(() => load({ BACKUP_DIR: 's3://my-bucket/a', AWS_ENDPOINT: 's3.example.com', PORT: 'x' })).toThrow(
      [
        'AWS_ENDPOINT should be a URL such as https://s3.example.com',
        'PORT should be a whole number from 0 to 65535',
        'S3_ACCESS_KEY_ID should be set, because BACKUP_DIR is in S3',
        'S3_SECRET_ACCESS_KEY should be set, because BACKUP_DIR is in S3',
      ].join('\n'),
    );
    expect(() => load({ BACKUP_DIR: 's3://key:secret@my-bucket' })).toThrow(
      'BACKUP_DIR should not contain credentials',
    );
    const invalid = { BACKUP_DIR: 's3://my-bucket', S3_ACCESS_KEY_ID: 'key', S3_SECRET_ACCESS_KEY: 'a b' };
    expect(() => load(invalid)).toThrow(/^S3_SECRET_ACCESS_KEY should contain only visible ASCII characters$/);
    expect(load({ BACKUP_DIR: 'folder' }).s3.accessKeyId).toBeUndefined();
  });
});
