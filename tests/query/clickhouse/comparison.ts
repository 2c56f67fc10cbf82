import { expect } from 'bun:test';
import { send } from '../../harness/client.ts';
import type { Target } from '../../harness/target.ts';
import { token } from '../../harness/tokens.ts';
import { USERS } from './varied-rows.ts';

/** Sends a GET request as an admin. */
async function get({ url }: Pick<Target, 'url'>, path: string) {
  return send(url + path, { headers: { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` } });
}

/** Compares the responses of two servers, except for the ID of the request. */
export async function compareQueries(expected: Target, found: Target, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const responses = await Promise.all([expected, found].map((server) => get(server, path)));
    const [want, have] = responses.map(({ status, text }) => ({
      path,
      status,
      text: text.replace(/"request_id":"[^"]*"/, ''),
    }));
    expect(have).toEqual(want as NonNullable<typeof want>);
    expect([200, 422]).toContain(have?.status as number);
  }
}

/** Returns the records of all pages. */
async function allPages(server: Target, path: string): Promise<unknown[]> {
  const records: unknown[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { status, body } = await get(server, cursor === '' ? path : `${path}&cursor=${cursor}`);
    expect(status).toBe(200);
    records.push(...body.records);
    cursor = body.next_cursor;
  }
  return records;
}

/** Compares the pages of records of two servers. */
export async function comparePages(expected: Target, found: Target): Promise<void> {
  for (const path of [
    '/api/records/metrics?limit=137',
    '/api/records/analytics?limit=1000',
    '/api/records/analytics?limit=50&data.plan=pro&type=click',
    `/api/records/metrics?limit=100&name=load&user_id=${encodeURIComponent(USERS[2])}`,
    '/api/records/metrics?limit=10&name=nosuch',
  ]) {
    expect(await allPages(found, path)).toEqual(await allPages(expected, path));
  }
}

/** Compares the exports of two servers. */
export async function compareExports(expected: Target, found: Target): Promise<void> {
  const filters = ['', '&from=2026-03-25T00:00:00Z&to=2026-03-29T12:00:00Z', `&user_id=${USERS[1]}`, '&user_id=nobody'];
  for (const kind of ['metrics', 'analytics']) {
    for (const format of ['ndjson', 'csv', 'parquet']) {
      for (const filter of [...filters, ...(kind === 'analytics' ? ['&data.plan=pro'] : [])]) {
        const path = `/api/export/${kind}?format=${format}${filter}`;
        const [want, have] = await Promise.all([expected, found].map((server) => get(server, path)));
        expect([path, have?.status]).toEqual([path, 200]);
        expect(have?.text === want?.text).toBe(true);
      }
    }
  }
}
