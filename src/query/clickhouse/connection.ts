import type { ClickHouseAddress } from '../../formats/clickhouse-url.ts';
import type { ErasedUser } from '../../storage/columns/column-store.ts';
import { type Budget, QueryCanceledError, QueryTooLargeError } from '../budget.ts';
import { type Columns, type Row, RowDecoder } from './row-binary.ts';
import { every, integer, type Sql, sql, text } from './sql.ts';

/** Memory that the engine may use per query and server: enough to sort the values of 100 million rows. */
const MAX_ENGINE_BYTES = 4 * 1024 ** 3;
/** Memory above which the engine sorts on disk. */
const EXTERNAL_SORT_BYTES = 1024 ** 3;
/** Longest statement, in bytes: 10,000 buckets and 1,000 groups take about 300 KB. */
const MAX_STATEMENT_BYTES = 16 * 1024 * 1024;
/** How long the engine may take to return its settings, in milliseconds. */
const SETTINGS_TIMEOUT_MS = 10_000;
/** Largest result of one statement, in bytes. Larger results are read in several statements. */
const MAX_STREAM_BYTES = 1024 ** 3;
/** Time that the engine may take longer than the query's own deadline before it stops by itself, in milliseconds. */
const GRACE_MS = 1_000;
/** Longest error message that is read, in bytes. */
const MAX_ERROR_BYTES = 4096;

/** All responses of ClickHouse have it. */
const SERVER_HEADER = 'x-clickhouse-server-display-name';

/** Error codes of ClickHouse (`ErrorCodes.cpp`) by what they mean to a query. */
const TOO_LARGE = new Set([158, 159, 160, 191, 241, 307, 394, 396]);
const NOT_SUPPORTED = new Set([1, 46, 48, 344]);
const OVERLOADED = new Set([202]);

/** The query engine cannot be reached, rejects the account, or lacks its tables. The message contains no values. */
export class EngineUnavailableError extends Error {
  override readonly name = 'EngineUnavailableError';
}

/** The query engine runs as many queries as it accepts. */
export class EngineOverloadedError extends Error {
  override readonly name = 'EngineOverloadedError';
}

/** This version of the query engine cannot run the query. */
export class NotSupportedError extends Error {
  override readonly name = 'NotSupportedError';
}

/** Runs statements of one query. */
export interface Connection {
  /**
   * Runs a statement, and yields its rows in blocks as they arrive.
   *
   * @param columns the columns of the statement, in order
   * @throws {QueryTooLargeError} if the engine exceeds a limit
   * @throws {EngineUnavailableError} if the engine is not available
   * @throws {NotSupportedError} if this version of the engine lacks a function
   */
  rows<Names extends Columns>(statement: Sql, columns: Names): AsyncGenerator<Row<Names>[]>;
  /** Runs a statement that returns few rows, and returns them all. */
  all<Names extends Columns>(statement: Sql, columns: Names): Promise<Row<Names>[]>;
  readonly budget: Budget;
  /** The condition of rows that are not of an erased user. */
  readonly isVisible: Sql;
}

/** What a query is run with. */
export interface QueryContext {
  readonly budget: Budget;
  /** Aborted when the query is canceled, or after its deadline. */
  readonly signal: AbortSignal;
  /** Users whose erasure has begun but not reached the engine yet: queries ignore their rows up to the cutoff. */
  readonly erased: readonly ErasedUser[];
}

/** A client of the query engine. */
export interface ClickHouse {
  connect(context: QueryContext): Connection;
}

/**
 * Creates a client of a ClickHouse server. Each statement is one HTTP request in the format RowBinary. The engine sends a
 * result only once it is complete (`wait_end_of_query`), because ClickHouse would otherwise append an error to it.
 *
 * @param timeoutMs the longest run time of a query, in milliseconds
 */
export function createClickHouse(address: ClickHouseAddress, timeoutMs: number): ClickHouse {
  const { origin, user, password, database } = address;
  const headers = { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
  let knownSettings: Promise<ReadonlyMap<string, string>> | undefined;

  async function send(statement: Sql, parameters: URLSearchParams, signal: AbortSignal): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${origin}/?${parameters}`, {
        method: 'POST',
        headers,
        body: `${statement} FORMAT RowBinary`,
        signal,
        redirect: 'manual', // credentials are for this server only
      });
    } catch (error) {
      if (signal.aborted) throw error;
      throw unavailable(error);
    }
    if (!response.ok) throw await errorOf(response);
    if (response.headers.has(SERVER_HEADER)) return response;
    await response.body?.cancel();
    throw new EngineUnavailableError('the response is not from ClickHouse');
  }

  /** Returns the engine's settings by name, since different versions have different ones, and reject the others. */
  async function settingsOf(): Promise<ReadonlyMap<string, string>> {
    knownSettings ??= (async () => {
      const columns = { name: 'text', value: 'text' } as const;
      const response = await send(
        sql`SELECT name, value FROM system.settings`,
        new URLSearchParams({ database, wait_end_of_query: '1' }),
        AbortSignal.timeout(SETTINGS_TIMEOUT_MS), // that of a query would also cancel it for the others that wait
      );
      const decoder = new RowDecoder(columns);
      const rows = decoder.push(new Uint8Array(await response.arrayBuffer()), true);
      return new Map(rows.map(({ name, value }) => [name, value]));
    })();
    const pending = knownSettings;
    try {
      return await pending;
    } catch (error) {
      if (knownSettings === pending) knownSettings = undefined; // the next query tries again
      throw error;
    }
  }

  /** Returns the parameters of a statement that reads. */
  async function parametersFor(queryId: string): Promise<URLSearchParams> {
    const known = await settingsOf();
    const readonly = known.get('readonly');
    if (readonly === '1') {
      throw new EngineUnavailableError(
        'the account in QUERY_URL has readonly = 1, so that queries cannot be limited; set 2',
      );
    }
    /** Returns a limit, or that of the account if it is lower. 0 is no limit. */
    const atMost = (name: string, limit: number) => Math.min(limit, Number(known.get(name)) || limit);
    const settings: Record<string, number | string> = {
      // an account that may only read may not change this setting either
      ...(readonly === '0' && { readonly: 2 }),
      max_execution_time: atMost('max_execution_time', Math.ceil((timeoutMs + GRACE_MS) / 1000)),
      max_memory_usage: atMost('max_memory_usage', MAX_ENGINE_BYTES),
      max_result_bytes: atMost('max_result_bytes', MAX_STREAM_BYTES),
      result_overflow_mode: 'throw',
      timeout_overflow_mode: 'throw',
      max_query_size: MAX_STATEMENT_BYTES,
      max_bytes_before_external_sort: EXTERNAL_SORT_BYTES,
      // rows with the same ID are in the same partition
      do_not_merge_across_partitions_select_final: 1,
      cancel_http_readonly_queries_on_client_close: 1,
    };
    const parameters = new URLSearchParams({ database, query_id: queryId, wait_end_of_query: '1' });
    for (const [name, value] of Object.entries(settings)) if (known.has(name)) parameters.set(name, String(value));
    return parameters;
  }

  /** Stops a statement whose result is not wanted any more. Its deadline ends it if this fails. */
  function kill(queryId: string): void {
    const parameters = new URLSearchParams({ database });
    fetch(`${origin}/?${parameters}`, {
      method: 'POST',
      headers,
      body: String(sql`KILL QUERY WHERE query_id = ${text(queryId)} ASYNC`),
      signal: AbortSignal.timeout(GRACE_MS),
      redirect: 'manual',
    }).then(
      (response) => response.body?.cancel(),
      () => {}, // newer servers also cancel it, because the connection is closed
    );
  }

  async function* rows<Names extends Columns>(
    statement: Sql,
    columns: Names,
    { budget, signal }: QueryContext,
  ): AsyncGenerator<Row<Names>[]> {
    const queryId = crypto.randomUUID();
    const stopping = new AbortController();
    const either = AbortSignal.any([signal, stopping.signal]);
    let isDone = false;
    try {
      budget.check();
      const response = await send(statement, await parametersFor(queryId), either);
      const decoder = new RowDecoder(columns);
      let received = 0;
      for await (const part of response.body ?? []) {
        budget.check();
        received += part.length;
        if (received > MAX_STREAM_BYTES) throw new QueryTooLargeError('the query reads too many rows');
        const decoded = decoder.push(part);
        if (decoded.length > 0) yield decoded;
      }
      isDone = true;
      yield decoder.end();
    } catch (error) {
      if (signal.aborted) budget.check(); // throws the reason
      if (signal.aborted) throw new QueryCanceledError('the query was canceled');
      isDone ||= error instanceof EngineUnavailableError;
      throw isKnown(error) ? error : unavailable(error);
    } finally {
      if (!isDone) {
        stopping.abort();
        kill(queryId);
      }
    }
  }

  return {
    connect: (context) => ({
      budget: context.budget,
      isVisible: every(context.erased.map(isNotErased)),
      rows: (statement, columns) => rows(statement, columns, context),
      async all(statement, columns) {
        const found = [];
        for await (const block of rows(statement, columns, context)) {
          context.budget.reserve(ROW_BYTES * block.length);
          for (const row of block) found.push(row);
        }
        return found;
      },
    }),
  };
}

function isNotErased({ userId, cutoffSeq }: ErasedUser): Sql {
  return sql`NOT (user_id = ${text(userId)} AND seq <= ${integer(cutoffSeq)})`;
}

/** Estimated memory of a row that is kept, in bytes. */
const ROW_BYTES = 128;

function isKnown(error: unknown): boolean {
  return (
    error instanceof QueryTooLargeError ||
    error instanceof QueryCanceledError ||
    error instanceof EngineUnavailableError ||
    error instanceof EngineOverloadedError ||
    error instanceof NotSupportedError ||
    error instanceof RangeError
  );
}

function unavailable(error: unknown): EngineUnavailableError {
  const { code, name } = error as { code?: unknown; name?: unknown };
  // the message of a network error can contain the address, and that of a decoder a value
  return new EngineUnavailableError(`the query engine failed: ${String(code ?? name)}`);
}

/** Returns the error of a response. Its text can contain values, so only the code is kept. */
async function errorOf(response: Response): Promise<Error> {
  let message = '';
  const decoder = new TextDecoder();
  try {
    for await (const part of response.body ?? []) {
      message += decoder.decode(part, { stream: true });
      if (message.length > MAX_ERROR_BYTES) break;
    }
  } catch {
    // the status is enough
  }
  const code = Number(/^(?:.{0,200}?)Code: (\d{1,4})/s.exec(message)?.[1] ?? 0);
  if (TOO_LARGE.has(code)) return new QueryTooLargeError(`the query exceeds a limit of the query engine (${code})`);
  if (NOT_SUPPORTED.has(code)) return new NotSupportedError(`the query engine lacks a function (${code})`);
  if (OVERLOADED.has(code)) return new EngineOverloadedError('the query engine has too many queries');
  return new EngineUnavailableError(`the query engine responded with status ${response.status}, code ${code}`);
}
