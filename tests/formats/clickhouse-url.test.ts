import { expect, test } from 'bun:test';
import { parseClickHouseUrl } from '../../src/formats/clickhouse-url.ts';

const parse = (text: string) => parseClickHouseUrl(new URL(text));

test('parses the address of a server', () => {
  expect(parse('clickhouse://writer:p%40ss%25@db.example/logs')).toEqual({
    origin: 'http://db.example:8123',
    user: 'writer',
    password: 'p@ss%',
    database: 'logs',
    cluster: undefined,
  });
  expect(parse('clickhouses://[::1]:9443/logs?cluster=main-1')).toEqual({
    origin: 'https://[::1]:9443',
    user: 'default',
    password: '',
    database: 'logs',
    cluster: 'main-1',
  });
  expect(parse('clickhouses://db')).toMatchObject({ origin: 'https://db:8443', database: 'default' });
});

test.each([
  'http://db/logs',
  'clickhouse:///logs',
  'clickhouse://db/a/b',
  'clickhouse://db/a%60b',
  'clickhouse://db/1logs',
  'clickhouse://db/logs?cluster=a%60b',
  'clickhouse://db/logs?cluster=a&cluster=b',
  'clickhouse://db/logs?cluster=',
  'clickhouse://db/logs?async=1',
  'clickhouse://db/logs#x',
  'clickhouse://u:the-secret%zz@db/logs',
])('rejects %s without repeating it', (text) => {
  expect(() => parse(text)).toThrow(/^should /);
  expect(() => parse(text)).not.toThrow(/logs|the-secret/);
});
