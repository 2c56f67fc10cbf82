import { afterAll, beforeAll, expect, test } from 'bun:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { DOCUMENT, fetchDocument, PLAIN_DOCUMENT, toPlainDocument } from '../generators/documents.ts';
import { post, send } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

interface Operation {
  operationId?: string;
  summary?: string;
  description?: string;
  security?: object[];
  requestBody?: { content: Record<string, { schema: { $ref: string }; example?: unknown }> };
  responses: Record<
    string,
    { description?: string; content?: Record<string, { examples?: Record<string, { value: unknown }> }> }
  >;
}

let target: Target;
// biome-ignore lint/suspicious/noExplicitAny: the document is probed field by field
let document: any;
let operations: [method: string, path: string, operation: Operation][];
beforeAll(async () => {
  target = await startTarget();
  document = (await send(`${target.url}/swagger/json`)).body;
  operations = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, string, Operation] => [method, path, operation]),
  );
});
afterAll(() => target.stop());

test('serves a valid OpenAPI document', async () => {
  const result = await new Validator().validate(structuredClone(document));
  expect(result.errors ?? []).toEqual([]);
  expect(result.valid).toBe(true);
});

test('the committed documents are the served one, and follow from it (npm run openapi)', async () => {
  const served = await fetchDocument(target);
  expect(await Bun.file(DOCUMENT).json()).toEqual(served);
  expect(await Bun.file(PLAIN_DOCUMENT).json()).toEqual(toPlainDocument(served));
});

test('names every operation differently', () => {
  const ids = operations.map(([, , { operationId }]) => operationId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.filter((id) => !/^[a-z][A-Za-z]+$/.test(id ?? ''))).toEqual([]);
});

test('detects an invalid document', async () => {
  const broken = structuredClone(document);
  broken.paths['/log_raw_metric'].post.responses = { '200': {} };
  expect((await new Validator().validate(broken)).valid).toBe(false);
});

test('lists exactly the existing routes', () => {
  expect(operations.map(([method, path]) => `${method} ${path}`).sort()).toEqual([
    'delete /api/annotations/{annotation_id}',
    'delete /api/boards/{board_id}',
    'delete /api/demo',
    'delete /api/links/{link_id}',
    'delete /api/records/analytics',
    'delete /api/records/metrics',
    'delete /api/users',
    'delete /api/users/{user_id}',
    'get /api/activity',
    'get /api/analytics',
    'get /api/analytics/counts',
    'get /api/analytics/funnel',
    'get /api/analytics/retention',
    'get /api/annotations',
    'get /api/audit',
    'get /api/boards',
    'get /api/boards/{board_id}',
    'get /api/boards/{board_id}/charts/{index}',
    'get /api/export/analytics',
    'get /api/export/metrics',
    'get /api/links',
    'get /api/metrics',
    'get /api/metrics/series',
    'get /api/records/analytics',
    'get /api/records/analytics/tail',
    'get /api/records/metrics',
    'get /api/records/metrics/tail',
    'get /api/rejections',
    'get /api/shared',
    'get /api/shared/charts/{index}',
    'get /api/status',
    'get /api/units',
    'get /api/zone',
    'get /healthz',
    'get /metrics',
    'get /readyz',
    'post /api/annotations',
    'post /api/boards',
    'post /api/boards/{board_id}/links',
    'post /api/demo',
    'post /api/session',
    'post /log_batch',
    'post /log_raw_analytics',
    'post /log_raw_metric',
    'post /v1/metrics',
    'put /api/boards/{board_id}',
    'put /api/units',
  ]);
});

test('describes every route and each of its responses', () => {
  for (const [, , operation] of operations) {
    expect(operation.summary).toBeString();
    expect(operation.description).toBeString();
    for (const response of Object.values(operation.responses)) expect(response.description).not.toBe('');
  }
});

test('documents that routes accept only JSON, with a valid example', async () => {
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  const { body: board } = await post(target, '/api/boards', { name: 'x', scope: 'account', charts: [] }, headers);
  for (const [method, path, operation] of operations) {
    if (!operation.requestBody || path === '/api/session') continue;
    expect(Object.keys(operation.requestBody.content)).toEqual(['application/json']);
    const example = operation.requestBody.content['application/json']?.example;
    const response = await send(target.url + path.replace('{board_id}', board.id), {
      method: method.toUpperCase(),
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(example),
    });
    expect([path, response.status]).toEqual([path, 200]);
    expect(operation.security).toEqual([{ bearer: [] }]);
  }
});

test('documents every error of the recording routes', () => {
  for (const [, path, operation] of operations) {
    if (!path.startsWith('/log_')) continue;
    expect(Object.keys(operation.responses)).toEqual([
      '200',
      '400',
      '401',
      '403',
      '413',
      '415',
      '422',
      '429',
      '500',
      '503',
    ]);
    const codes = Object.values(operation.responses).flatMap((response) =>
      Object.keys(response.content?.['application/json']?.examples ?? {}),
    );
    const all: string[] = document.components.schemas.ErrorResponse.properties.code.enum;
    const others = ['not_found', 'method_not_allowed', 'query_too_large', 'queries_overloaded', 'not_supported'];
    // OTLP reports names beyond the limit as a partial success
    if (path === '/v1/metrics') others.push('too_many_names');
    expect(codes.sort()).toEqual(all.filter((code) => !others.includes(code)).sort());
  }
});

test('serves the documentation page and everything it loads', async () => {
  const page = await send(`${target.url}/swagger`);
  expect(page.status).toBe(200);
  expect(page.headers.get('content-security-policy')).toContain("script-src 'self'");
  const addresses = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address = '']) => address);
  expect(addresses.length).toBeGreaterThan(2);
  for (const address of addresses.filter((path) => !path.startsWith('data:'))) {
    expect(address).toStartWith('/');
    const file = await send(target.url + address);
    expect(file.status).toBe(200);
    expect(file.text.length).toBeGreaterThan(50);
  }
});
