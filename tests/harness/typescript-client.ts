import { afterAll, afterEach, beforeAll, beforeEach } from 'bun:test';
import { type Client, type ClientOptions, createClient, type Item, type Rejection } from '../../client/src/index.ts';
import { rows } from './client.ts';
import { startTarget, type Target, UNLIMITED } from './target.ts';
import { token } from './tokens.ts';
import { startUnreliableProxy, type UnreliableProxy } from './unreliable-proxy.ts';

/** What a test of the TypeScript client uses. */
export interface ClientSetup {
  readonly target: Target;
  readonly proxy: UnreliableProxy;
  /** A client of a user without earlier rows, in memory, closed after the test. */
  readonly client: Client;
  /** The user ID in its token. */
  readonly user: string;
  /** What was handed back. */
  readonly rejected: { items: Item[]; rejection: Rejection }[];
  /** Creates another client of the same user. */
  start(options?: Partial<ClientOptions>): Promise<Client>;
  /** Reads the user's metrics and events from the database, in commit order. */
  metrics(): Record<string, unknown>[];
  events(): Record<string, unknown>[];
}

/** Starts a server and a proxy for the tests of a file, and a client for each test. Use the result only in tests. */
export function setUpClient(settings: Record<string, string> = {}): ClientSetup {
  const setup = {} as { -readonly [Key in keyof ClientSetup]: ClientSetup[Key] };
  let users = 0;
  beforeAll(async () => {
    setup.target = await startTarget({ ...UNLIMITED, ...settings });
    setup.proxy = await startUnreliableProxy(setup.target.url);
  });
  afterAll(async () => {
    await setup.proxy.stop();
    await setup.target.stop();
  });
  beforeEach(async () => {
    setup.user = `client-user-${users++}`;
    setup.rejected = [];
    setup.proxy.requests.length = 0;
    setup.client = await setup.start();
  });
  afterEach(() => setup.client.close());
  setup.start = async (options) =>
    createClient({
      url: `${setup.proxy.url}/`,
      token: await token({ sub: setup.user }),
      onRejected: (items, rejection) => setup.rejected.push({ items, rejection }),
      ...options,
    });
  const own = (table: 'metrics' | 'analytics') =>
    rows(setup.target, table).filter((row) => row['user_id'] === setup.user);
  setup.metrics = () => own('metrics');
  setup.events = () => own('analytics');
  return setup;
}
