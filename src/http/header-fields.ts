/*
 * The only parser of header fields (RFC 9110, section 5.6): lists, parameters and quoted strings, with optional
 * whitespace, empty members, and names in any letter case.
 */

/** The names of the one content coding in use here (RFC 9110, section 8.4.1.3). */
export const GZIP: readonly string[] = ['gzip', 'x-gzip'];

/** A member of a list, with its parameters by lower-case name. */
export interface FieldItem {
  /** In lower case. */
  readonly value: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Returns the members of a list, without empty ones. Commas in quoted strings do not separate. */
export function listMembers(field: string | null): string[] {
  return split(field ?? '', ',').filter((member) => member !== '');
}

/** Returns the members of a list of values with parameters: `gzip;q=0.5, br`. */
export function listItems(field: string | null): FieldItem[] {
  return listMembers(field).map(parseItem);
}

/** Parses one value with parameters: `application/json; charset=utf-8`. */
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

/** Returns whether a text is a token: what a field name, a scheme or a coding may be. */
export function isToken(text: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(text);
}

/**
 * Returns how much a client wants a content coding, from 0 (not at all) to 1, by its `Accept-Encoding`. A weight that
 * is malformed counts as 0.
 */
export function codingWeight(acceptEncoding: string | null, names: readonly string[]): number {
  const items = listItems(acceptEncoding);
  const item = items.find(({ value }) => names.includes(value)) ?? items.find(({ value }) => value === '*');
  if (!item) return 0;
  const weight = item.parameters.get('q') ?? '1';
  return /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight) : 0;
}

/** Returns whether `If-None-Match` names an entity tag, by the weak comparison that it asks for. */
export function matchesEntityTag(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch?.trim() === '*') return true;
  const opaque = (tag: string) => tag.replace(/^W\//, '');
  return listMembers(ifNoneMatch).some((tag) => opaque(tag) === opaque(etag));
}

/** Splits a text at a separator outside of quoted strings, and trims the parts. */
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
