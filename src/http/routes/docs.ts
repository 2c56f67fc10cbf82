import { swagger } from '@elysiajs/swagger';
import { Elysia } from 'elysia';
import swaggerUiStyle from 'swagger-ui-dist/swagger-ui.css' with { type: 'file' };
import swaggerUiScript from 'swagger-ui-dist/swagger-ui-bundle.js' with { type: 'file' };
import { version } from '../../../package.json' with { type: 'json' };
import { COMPONENTS } from '../openapi.ts';

const DESCRIPTION = `A durable log for product metrics and analytics events: 200 means on the disk.

To try it: press **Authorize** and paste a token of your product, or one that \`rawlog token --sub ID\`
prints. Then open a route, press **Execute**, and see the id of the stored row.`;

/** Swagger UI with its script and style from this server: the stock page takes them from a CDN. */
const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>rawlog API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/swagger/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/swagger/swagger-ui.js"></script>
<script src="/swagger/start.js"></script>
</body>
</html>
`;

const START = `SwaggerUIBundle({
  url: '/swagger/json',
  dom_id: '#swagger-ui',
  tryItOutEnabled: true,
  validatorUrl: null,
});
`;

/** Swagger UI sets style attributes and draws its icons from data: addresses. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The interactive documentation: `/swagger`, and the OpenAPI document that it shows, `/swagger/json`. */
export function docs() {
  const hidden = { detail: { hide: true } };
  return (
    new Elysia({ name: 'docs' })
      .use(
        swagger({
          provider: 'swagger-ui',
          path: '/swagger',
          documentation: {
            info: { title: 'rawlog', version, description: DESCRIPTION, license: { name: 'MIT' } },
            tags: [
              { name: 'Recording', description: 'Store what users do and what is measured' },
              { name: 'Operations', description: 'For those who run the server' },
            ],
            // our own document, which the validator's test checks; the plugin's type is narrower than OpenAPI
            components: COMPONENTS as never,
          },
        }),
      )
      // static: the plugin's own page wins over a handler function
      .get('/swagger', page(PAGE, 'text/html'), hidden)
      .get('/swagger/start.js', () => page(START, 'text/javascript'), hidden)
      .get('/swagger/swagger-ui.js', () => Bun.file(swaggerUiScript), hidden)
      .get('/swagger/swagger-ui.css', () => Bun.file(swaggerUiStyle), hidden)
  );
}

function page(text: string, type: string): Response {
  return new Response(text, {
    headers: {
      'content-type': `${type}; charset=utf-8`,
      'content-security-policy': CONTENT_SECURITY_POLICY,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    },
  });
}
