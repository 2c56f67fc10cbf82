import { parentPort } from 'node:worker_threads';
import jwt from '@elysiajs/jwt';
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { SECRET } from '../harness/target.ts';

/*
 * A receiving thread of the trial in receivers.ts: parses and validates requests, verifies each token once, and passes the
 * requests of an event-loop turn to the writer in one message. It responds once the writer has stored them.
 */

/** A metric as a receiver passes it on. */
export type ReceivedMetric = readonly [userId: string, name: string, value: number, label: string];
/** Metrics of one event-loop turn. */
export interface Received {
  readonly turn: number;
  readonly metrics: readonly ReceivedMetric[];
}
/** The IDs of the metrics of a turn, which are on disk. */
export interface Stored {
  readonly turn: number;
  readonly ids: readonly string[];
}

const port = parentPort;
if (!port) throw new Error('receiver.ts runs in a worker of receivers.ts');
/** Verified tokens, with their users. */
const users = new Map<string, string>();
const turns = new Map<number, ((id: string) => void)[]>();
let lastTurn = 0;
let metrics: ReceivedMetric[] = [];
let waiting: ((id: string) => void)[] = [];

function pass(): void {
  const turn = ++lastTurn;
  turns.set(turn, waiting);
  port?.postMessage({ turn, metrics } satisfies Received);
  metrics = [];
  waiting = [];
}

port.on('message', ({ turn, ids }: Stored) => {
  const resolvers = turns.get(turn) ?? [];
  turns.delete(turn);
  for (const [i, resolve] of resolvers.entries()) resolve(ids[i] as string);
});

const app = new Elysia({ normalize: false, serve: { reusePort: true, development: false } })
  .use(jwt({ name: 'jwt', secret: SECRET }))
  .post(
    '/log_raw_metric',
    async ({ body, headers, jwt, set, status }) => {
      const token = headers['authorization']?.slice('Bearer '.length) ?? '';
      let user = users.get(token);
      if (user === undefined) {
        const claims = await jwt.verify(token);
        if (!claims || typeof claims.sub !== 'string') return status(401);
        user = claims.sub;
        users.set(token, user);
      }
      const id = await new Promise<string>((resolve) => {
        if (metrics.length === 0) setImmediate(pass);
        metrics.push([user, body.metric_name, body.metric_value, body.data_string]);
        waiting.push(resolve);
      });
      set.headers['content-type'] = 'application/json';
      return JSON.stringify(id);
    },
    {
      parse: 'json',
      body: Type.Object(
        {
          metric_name: Type.String({ minLength: 1 }),
          metric_value: Type.Number(),
          data_string: Type.String({ minLength: 1 }),
        },
        { additionalProperties: true },
      ),
    },
  );
app.listen({ hostname: '127.0.0.1', port: Number(Bun.env['TRIAL_PORT']) });
port.postMessage('listening');
