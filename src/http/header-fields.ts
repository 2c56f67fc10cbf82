/*
 * Parses header fields (RFC 9110, section 5.6): lists, parameters, quoted strings, optional whitespace, empty members
 * and case-insensitive names.
 */

/** The names of gzip, the only supported content coding (RFC 9110, section 8.4.1.3). */
export const GZIP: readonly string[] = ['gzip', 'x-gzip'];

/** The header fields of a request: the part of `Headers` that reads one. */
export type HeaderFields = Pick<Headers, 'get'>;

/** The part of a request before its body, without its target. */
export interface RequestHead {
  readonly method: string;
  readonly headers: HeaderFields;
}

/** A list member with its parameters, by lowercase name. */
export interface FieldItem {
  /** In lowercase. */
  readonly value: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Returns the non-empty members of a list. Commas in quoted strings do not separate members. */
export function listMembers(field: string | null): string[] {
  return split(field ?? '', ',').filter((member) => member !== '');
}

/** Parses a list of values with parameters, such as `gzip;q=0.5, br`. */
export function listItems(field: string | null): FieldItem[] {
  return listMembers(field).map(parseItem);
}

/** Parses a value with parameters, such as `application/json; charset=utf-8`. */
export function parseItem(field: string): FieldItem {
  const [value = '', ...rest] = split(field, ';');
  const parameters = new Map(
    rest
      .filter((parameter) => parameter !== '')
      .map((parameter) => {
        const [, name = parameter, text = ''] = /^([^=]*)=(.*)$/s.exec(parameter) ?? [];
        return [name.trim().toLowerCase(), unquote(text.trim())] as const;
      }),
  );
  return { value: value.toLowerCase(), parameters };
}

/** Returns whether a text is a token, the syntax of field names, schemes and codings. */
export function isToken(text: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(text);
}

/**
 * Returns the weight of a content coding in an `Accept-Encoding` field, from 0 (not acceptable) to 1. A malformed
 * weight counts as 0.
 */
export function codingWeight(acceptEncoding: string | null, names: readonly string[]): number {
  const items = listItems(acceptEncoding);
  const item = items.find(({ value }) => names.includes(value)) ?? items.find(({ value }) => value === '*');
  if (!item) return 0;
  const weight = item.parameters.get('q') ?? '1';
  return /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight) : 0;
}

/** Returns whether `If-None-Match` matches an entity tag. It uses weak comparison (RFC 9110, section 13.1.2). */
export function matchesEntityTag(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch?.trim() === '*') return true;
  const opaque = (tag: string) => tag.replace(/^W\//, '');
  return listMembers(ifNoneMatch).some((tag) => opaque(tag) === opaque(etag));
}

/** Splits a text at a separator outside quoted strings and trims the parts. */
function split(text: string, separator: ',' | ';'): string[] {
  const parts: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') isQuoted = !isQuoted;
    else if (character === '\\' && isQuoted && separator === ';')
      i++; // entity tags have no escapes
    else if (character === separator && !isQuoted) {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}

function unquote(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"')
    ? text.slice(1, -1).replace(/\\(.)/gs, '$1')
    : text;
}
