import type { ClickHouseAddress } from '../../formats/clickhouse-url.ts';
import { SinkUnavailableError } from '../sink.ts';
import { errorOfCode } from './error.ts';

/*
 * The HTTP interface of ClickHouse. @clickhouse/client 1.23.1 was tried under Bun and not used: it cannot insert
 * RowBinary except through its raw `exec`, ignores a signal that is aborted already or while a body arrives, does not
 * recognize the errors of 18.16, and took seven times as long per request as fetch (4.6 against 0.7 ms).
 */

/** Maximum size of a response that is read. The sink expects a few rows at most. */
const MAX_RESPONSE_BYTES = 1024 ** 2;
/** All responses of ClickHouse have it, since 2018. */
const SERVER_HEADER = 'x-clickhouse-server-display-name';
/** The code of an error, at the start of a response, or in its middle if the error came after the status line. */
const ERROR_CODE = /(?:^|\n|__exception__\s+\S+\s+)Code: (\d{1,5})[.,]/;

/** Options of {@link ClickHouseConnection.run}. */
export interface RunOptions {
  readonly settings?: Readonly<Record<string, string | number>>;
  /** The rows of an INSERT, in its format. */
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Whether the statement returns a list of nodes, which is ignored. Default: any text is an error. */
  readonly returnsNodes?: boolean;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Sends statements to one server. */
export interface ClickHouseConnection {
  /**
   * Executes a statement without a result.
   *
   * @throws {ClickHouseError | SinkConfigurationError} if ClickHouse says why it failed
   * @throws {SinkUnavailableError} if the server cannot be reached, takes too long, or is not ClickHouse
   */
  run(statement: string, options: RunOptions): Promise<void>;
  /** Runs a query. Returns the rows; 64-bit integers are texts. Throws as {@link run} does. */
  query<Row>(statement: string, options: RunOptions): Promise<Row[]>;
}

/** Creates a connection. Nothing is sent yet. */
export function createConnection({ origin, user, password }: ClickHouseAddress): ClickHouseConnection {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

  async function send(statement: string, options: RunOptions): Promise<string> {
    const timeout = AbortSignal.timeout(options.timeoutMs);
    try {
      return await exchange(statement, options, AbortSignal.any([options.signal, timeout]));
    } catch (error) {
      if (!timeout.aborted) throw error;
      throw new SinkUnavailableError(`ClickHouse did not respond within ${options.timeoutMs / 1000} s`);
    }
  }

  async function exchange(
    statement: string,
    { settings = {}, body }: RunOptions,
    signal: AbortSignal,
  ): Promise<string> {
    const parameters = new URLSearchParams(Object.entries(settings).map(([name, value]) => [name, String(value)]));
    if (body) parameters.set('query', statement);
    const response = await fetch(`${origin}/?${parameters}`, {
      method: 'POST',
      headers: { authorization },
      body: body ?? statement,
      redirect: 'manual', // the credentials are for this server only
      signal,
    });
    const text = await readText(response);
    const code = Number(
      response.headers.get('x-clickhouse-exception-code') ?? ERROR_CODE.exec(text)?.[1] ?? Number.NaN,
    );
    if (response.headers.has(SERVER_HEADER) && Number.isSafeInteger(code) && code > 0) throw errorOfCode(code);
    if (!response.ok) throw new SinkUnavailableError(`The ClickHouse server returned the status ${response.status}`);
    if (!response.headers.has(SERVER_HEADER)) throw new SinkUnavailableError('The response is not from ClickHouse');
    return text;
  }

  return {
    async run(statement, options) {
      const text = await send(statement, options);
      if (text.trim() !== '' && !options.returnsNodes)
        throw new SinkUnavailableError('ClickHouse returned text for a statement without a result');
    },
    async query<Row>(statement: string, options: RunOptions) {
      const lines = (await send(`${statement} FORMAT JSONEachRow`, options)).split('\n');
      try {
        return lines.flatMap((line): Row[] => (line === '' ? [] : [JSON.parse(line)]));
      } catch {
        throw new SinkUnavailableError('ClickHouse returned rows that are not JSON'); // the original error would contain them
      }
    },
  };
}

/** Reads a response, which must be short. */
async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    if (text.length > MAX_RESPONSE_BYTES)
      throw new SinkUnavailableError('The response of the ClickHouse server is too large');
  }
  return text;
}
