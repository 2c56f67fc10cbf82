import { gzipSync } from 'node:zlib';
import { requestBytes } from './wire.ts';

/*
 * bun hostile-clients.ts ATTACK URL TOKEN
 *
 * Clients that misuse the service, with a valid token, in a process of its own (see hostile.ts). Prints
 * "ready" once they are at work, and, when its input ends, what came of it.
 */

/** What hostile clients do. */
export const ATTACKS = {
  bombs: '4 clients post gzip bombs without a pause: 1 KB that inflate to 1 MB, and 1 MB to 1 GB',
  slow: '200 clients send a body at one byte a second',
  idle: '2,000 connections are open and send nothing',
} as const;
export type Attack = keyof typeof ATTACKS;

const BOMB_CLIENTS = 4;
const SLOW_CLIENTS = 200;
const IDLE_CONNECTIONS = 2_000;
/** Connections made at once: fewer than a listening socket keeps waiting. */
const CONNECT_BATCH = 100;

/** What came of it, for the report. */
const counts: Record<string, number> = {};
const count = (what: string) => {
  counts[what] = (counts[what] ?? 0) + 1;
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

/** Valid gzip: members one after the other are one stream, so that a thousand of 1 KB each are a GB. */
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
        count(`${kind} bombs answered with ${response.status}`);
      } catch {
        count(`${kind} bombs broken off`); // refused while it was still being sent
      }
    }
  };
  for (let i = 0; i < BOMB_CLIENTS; i++) void client();
}

/** A body that takes longer to arrive than any round lasts. */
function slowBody(): string {
  return `{"metrics":[${' '.repeat(100_000)}]}`;
}

interface Address {
  readonly hostname: string;
  readonly port: number;
}

/** Sends the head at once, and from then on a byte of the body each second. */
async function sendSlowly(address: Address, request: Buffer): Promise<void> {
  const head = request.indexOf('\r\n\r\n') + 4;
  await connectMany(SLOW_CLIENTS, async function connect() {
    let sent = head;
    const socket = await Bun.connect({
      ...address,
      socket: {
        data: () => count('answers'),
        close() {
          clearInterval(timer);
          count('closed by the server');
          void connect();
        },
        error() {}, // what follows is a close
      },
    });
    socket.write(request.subarray(0, head));
    // not all of them in the same moment
    await Bun.sleep(Math.random() * 10);
    const timer = setInterval(() => {
      socket.write(request.subarray(sent, ++sent));
      count('bytes sent');
    }, 1_000);
  });
}

/** Keeps connections open that send nothing; one that the server closes is made anew. */
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
  for (let made = 0; made < total; made += CONNECT_BATCH) {
    await Promise.all(Array.from({ length: Math.min(CONNECT_BATCH, total - made) }, connect));
  }
}
