import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';

/*
 * The baseline for requests: the same route on the same framework. It parses the body, validates it against the same
 * schema and responds, without authentication or storage.
 */
const app = new Elysia({ normalize: false, serve: { reusePort: false, development: false } }).post(
  '/log_raw_metric',
  ({ set }) => {
    set.headers['content-type'] = 'application/json';
    return '"019aab3c-5f00-7001-9c3e-5a1d7f0b2c44"';
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
app.listen({ hostname: '127.0.0.1', port: 0 });
console.log(app.server?.url.href);
