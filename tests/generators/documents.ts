import { join } from 'node:path';
import { ROOT } from '../docs/markdown.ts';
import { send } from '../harness/client.ts';
import type { Target } from '../harness/target.ts';

/** The document that the server serves, committed for code generators. */
export const DOCUMENT = join(ROOT, 'docs/openapi.json');
/** The same without what old generators cannot express; see {@link toPlainDocument}. */
export const PLAIN_DOCUMENT = join(ROOT, 'docs/openapi-plain.json');

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A parameter that no identifier can stand for, such as `data_string!` or `data.PATH`. */
const hasPlainName = (parameter: Json) => /^[\w-]+$/.test(String((parameter as { name: Json }).name));

/** Fetches the OpenAPI document of a server. */
export async function fetchDocument(target: Pick<Target, 'url'>): Promise<Json> {
  return (await send(`${target.url}/swagger/json`)).body;
}

/**
 * Returns a document for generators such as openapi-generator 4, which know no unions, and whose parameters get the
 * same identifier if their names differ only in punctuation. Unions become objects without properties, and such parameters are
 * left out.
 */
export function toPlainDocument(document: Json): Json {
  const plain = simplify(document) as { components: { schemas: Record<string, { required: string[] }> } };
  const { schemas } = plain.components;
  // operators get more fields than users
  Object.assign(schemas, { Status: { ...schemas['OperatorStatus'], required: schemas['UserStatus']?.required ?? [] } });
  return plain as unknown as Json;
}

function simplify(value: Json): Json {
  if (Array.isArray(value)) return value.map(simplify);
  if (typeof value !== 'object' || value === null) return value;
  const { oneOf, ...rest } = value;
  return Object.fromEntries(
    Object.entries(oneOf === undefined ? rest : { ...rest, type: 'object' }).map(([key, inner]) => [
      key,
      simplify(key === 'parameters' && Array.isArray(inner) ? inner.filter(hasPlainName) : inner),
    ]),
  );
}

/** Returns a document as it is committed. */
export function format(document: Json): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}
