import { rmSync } from 'node:fs';
import { type } from 'node:os';
import { join } from 'node:path';
import { Session } from 'chdb';

/*
 * ClickHouse 26.7, in process, behind its HTTP interface as far as rawlog uses it: a statement in the body, or in a parameter
 * with the rows of an INSERT in the body; settings and the database as parameters. Prints its port. Statements run one at a
 * time, since settings belong to the session.
 */

/** Parameters of the HTTP interface that are not settings. */
const RESERVED = new Set(['database', 'query', 'query_id', 'wait_end_of_query']);
const FORMAT = / FORMAT (\w+)$/;

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: chdb-server.ts FOLDER');
const session = new Session(folder);
const rowsPath = join(folder, 'rows');
let last: Promise<unknown> = Promise.resolve();

async function run(body: Uint8Array, parameters: URLSearchParams): Promise<Response> {
  const headers = { 'x-clickhouse-server-display-name': type() };
  const insert = parameters.get('query');
  const statement = insert ?? new TextDecoder().decode(body);
  if (statement.startsWith('KILL ')) return new Response('', { headers });
  try {
    for (const [name, value] of parameters) {
      // the session also has to create tables
      if (RESERVED.has(name) || name === 'readonly') continue;
      session.query(`SET ${name} = '${value}'`);
    }
    const database = parameters.get('database');
    if (database !== null) session.query(`USE ${database}`);
    if (insert !== null) {
      await Bun.write(rowsPath, body);
      await session.queryAsync(insert.replace(FORMAT, ` FROM INFILE '${rowsPath}'$&`), { format: 'TabSeparated' });
      return new Response('', { headers });
    }
    const format = FORMAT.exec(statement)?.[1] ?? 'TabSeparated';
    const result = await session.queryAsync(statement.replace(FORMAT, ''), { format });
    return new Response(result.bytes().slice(), { headers });
  } catch (error) {
    const text = String(error);
    return new Response(text.slice(Math.max(0, text.indexOf('Code: '))), { status: 500, headers });
  } finally {
    rmSync(rowsPath, { force: true });
  }
}

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  idleTimeout: 255,
  maxRequestBodySize: 2 ** 30,
  async fetch(request) {
    const body = await request.bytes();
    const parameters = new URL(request.url).searchParams;
    const response = last.then(() => run(body, parameters));
    last = response;
    return response;
  },
});
process.stdout.write(`${server.port}\n`);
