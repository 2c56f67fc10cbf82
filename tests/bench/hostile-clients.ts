import { gzipSync } from 'node:zlib';
import { requestBytes } from './wire.ts';

/*
 * bun hostile-clients.ts ATTACK URL TOKEN
 *
 * Clients that attack the service with a valid token. hostile.ts runs them as a separate process. Prints "ready" once the
 * attack has begun, and counts of what happened, as JSON, when standard input ends.
 */

/** The attacks, with their descriptions. */
export const ATTACKS = {
  bombs: '4 clients post gzip bombs continuously: 1 KB that inflates to 1 MB, and 1 MB that inflates to 1 GB',
  slow: '200 clients send a body at one byte per second',
  idle: '2,000 open connections send nothing',
} as const;
export type Attack = keyof typeof ATTACKS;

const BOMB_CLIENTS = 4;
const SLOW_CLIENTS = 200;
const IDLE_CONNECTIONS = 2_000;
/** Connections opened at once: fewer than the backlog of a listening socket. */
const CONNECT_BATCH = 100;

/** Counts for the report, by event. */
const counts: Record<string, number> = {};
const count = (event: string) => {
  counts[event] = (counts[event] ?? 0) + 1;
};

if (import.meta.main) {
  const [attack, url = '', token = ''] = process.argv.slice(2);
  const { hostname, port } = new URL(url);
  const address = { hostname, port: Number(port) };

  if (attack === 'bombs') await postBombs(url, token);
  else if (attack === 'slow') await sendSlowly(address, requestBytes({ url, token, path: '/log_batch' }, slowBody()));
  else await stayIdle(address);
  console.log('ready');
  for await (const _ of Bun.stdin.stream());
  console.log(JSON.stringify(counts));
  process.exit();
}

/** Posts gzip bombs. Concatenated gzip members are valid gzip, so a thousand members of 1 KB inflate to 1 GB. */
async function postBombs(url: string, token: string): Promise<void> {
  const small = gzipSync(Buffer.alloc(2 ** 20, ' '));
  const bombs = [small, Buffer.concat(Array.from({ length: 1_000 }, () => small))];
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'content-encoding': 'gzip' };
  const client = async () => {
    for (let i = 0; ; i++) {
      const body = bombs[i % bombs.length] as Buffer<ArrayBuffer>;
      const kind = body === small ? 'small' : 'large';
      try {
        const response = await fetch(`${url}/log_batch`, { method: 'POST', headers, body });
        await response.arrayBuffer();
        count(`${kind} bombs: status ${response.status}`);
      } catch {
        count(`${kind} bombs: connection closed`); // rejected while it was still being sent
      }
    }
  };
  for (let i = 0; i < BOMB_CLIENTS; i++) void client();
}

/** Returns a body that takes longer to send than any round lasts. */
function slowBody(): string {
  return `{"metrics":[${' '.repeat(100_000)}]}`;
}

interface Address {
  readonly hostname: string;
  readonly port: number;
}

/** Sends the head immediately, then one byte of the body per second. */
async function sendSlowly(address: Address, request: Buffer): Promise<void> {
  const head = request.indexOf('\r\n\r\n') + 4;
  await connectMany(SLOW_CLIENTS, async function connect() {
    let sent = head;
    const socket = await Bun.connect({
      ...address,
      socket: {
        data: () => count('responses'),
        close() {
          clearInterval(timer);
          count('closed by the server');
          void connect();
        },
        error() {}, // close() follows
      },
    });
    socket.write(request.subarray(0, head));
    // spreads the clients over time
    await Bun.sleep(Math.random() * 10);
    const timer = setInterval(() => {
      socket.write(request.subarray(sent, ++sent));
      count('bytes sent');
    }, 1_000);
  });
}

/** Keeps idle connections open. Reconnects those that the server closes. */
async function stayIdle(address: Address): Promise<void> {
  await connectMany(IDLE_CONNECTIONS, async function connect() {
    await Bun.connect({
      ...address,
      socket: {
        open: () => count('opened'),
        data: () => {},
        close() {
          count('closed by the server');
          void connect();
        },
        error() {},
      },
    });
  });
}

async function connectMany(total: number, connect: () => Promise<void>): Promise<void> {
  for (let opened = 0; opened < total; opened += CONNECT_BATCH) {
    await Promise.all(Array.from({ length: Math.min(CONNECT_BATCH, total - opened) }, connect));
  }
}
