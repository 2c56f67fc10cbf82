import { swagger } from '@elysiajs/swagger';
import { Elysia } from 'elysia';
import swaggerUiStyle from 'swagger-ui-dist/swagger-ui.css' with { type: 'file' };
import swaggerUiScript from 'swagger-ui-dist/swagger-ui-bundle.js' with { type: 'file' };
import { version } from '../../../package.json' with { type: 'json' };
import { COMPONENTS } from '../openapi-schemas.ts';

const DESCRIPTION = `A durable log for product metrics and analytics events. A 200 response means that the data is on disk.

To try it out, press **Authorize** and paste a token issued by your product or printed by
\`rawlog token --sub ID\`. Then open a recording route and press **Execute**; the response contains the ID of the
stored row.`;

/** The Swagger UI page. It loads its script and style from this server; the default page loads them from a CDN. */
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

/** The content security policy of the page. Swagger UI needs style attributes and icons from data: URLs. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Creates the routes of the interactive documentation: `/swagger` and its OpenAPI document, `/swagger/json`. */
export function docsRoutes() {
  const hidden = { detail: { hide: true } };
  return (
    new Elysia({ name: 'docs' })
      .use(
        swagger({
          provider: 'swagger-ui',
          path: '/swagger',
          documentation: {
            info: { title: 'rawlog', version, description: DESCRIPTION, license: { name: 'MIT' } },
            servers: [
              { url: '/', description: 'This server' },
              { url: 'http://127.0.0.1:3000', description: 'A server on this machine with default settings' },
            ],
            tags: [
              { name: 'Recording', description: 'Store metrics and analytics events' },
              { name: 'Queries', description: 'Read records and aggregates, export them, and stream new ones' },
              { name: 'Boards', description: 'Boards, shared links, annotations and units' },
              { name: 'Administration', description: 'Server status, sign-in and erasure' },
              { name: 'Operations', description: 'Probes and metrics for operators' },
            ],
            // the plugin's type is narrower than OpenAPI; a test validates the whole document
            components: COMPONENTS as never,
          },
        }),
      )
      // a static response, because the plugin's own page takes precedence over a handler function
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
