import { expect, test } from 'bun:test';
import { findPassword, parsePostgresUrl } from '../../src/formats/postgres-url.ts';

test('parses a URL with all parts', () => {
  const url =
    'postgresql://us%40er:p%3Aw%2F@[::1]:6000/my%20db?schema=platform&tables=rawlog&sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=60&connection_limit=5';
  expect(parsePostgresUrl(url)).toMatchObject({
    host: '::1',
    port: 6000,
    database: 'my db',
    user: 'us@er',
    password: 'p:w/',
    schema: 'platform',
    tables: 'rawlog',
    tlsMode: 'verify-full',
    rootCertificateFile: '/ca.pem',
    connectTimeoutSeconds: 60,
  });
});

test('has the defaults of libpq and Prisma', () => {
  expect(parsePostgresUrl('postgres://me@db.example/app')).toMatchObject({
    host: 'db.example',
    port: 5432,
    password: undefined,
    schema: 'public',
    tables: 'original',
    tlsMode: 'prefer',
    connectTimeoutSeconds: 10,
  });
});

test.each([
  ['mysql://secret@host/db', 'should be a URL'],
  ['postgres://secret', 'should name a database'],
  ['postgres://secret@host/', 'should name a database'],
  ['postgres://host/db', 'should name a user'],
  ['postgres://secret@a,b/db', 'should name one host'],
  ['postgres://se%cret@host/db', 'whose % are written as %25'],
  ['postgres://me:secret%@host/db', 'should have a password'],
  ['postgres://me@host/db?sslmod=secret', 'should have only the parameters schema'],
  ['postgres://me@host/db?schema=a"b', 'should have a schema of letters'],
  ['postgres://me@host/db?schema=a&schema=b', 'one value for schema'],
  ['postgres://me@host/db?schema=', 'one value for schema'],
  ['postgres://me@host/db?tables=mine', 'should have tables=rawlog'],
  ['postgres://me@host/db?sslmode=allow', 'should have an sslmode of'],
  ['postgres://me@host/db?sslcert=/secret', 'both sslcert and sslkey'],
  ['postgres://me@host/db?connect_timeout=0', 'connect_timeout of 1 to 300'],
])('rejects %s without repeating it', (url, message) => {
  const error = (() => {
    try {
      return String(parsePostgresUrl(url));
    } catch (error) {
      return String(error);
    }
  })();
  expect(error).toContain(message);
  expect(error).not.toContain('secret');
});

test('finds the password of the first line that matches', () => {
  const target = { host: 'db', port: 5432, database: 'app', user: 'me' };
  const text = '#db:5432:app:me:no\ndb:5433:*:*:no\r\ndb:*:app:me:p\\:w\\\\\n*:*:*:*:no';
  expect(findPassword(text, target)).toBe('p:w\\');
  expect(findPassword(text, { ...target, user: 'you' })).toBe('no');
  expect(findPassword('localhost:*:*:*:socket', { ...target, host: '/run/postgresql' })).toBe('socket');
  expect(findPassword('db:5432:app', target)).toBeUndefined();
});
