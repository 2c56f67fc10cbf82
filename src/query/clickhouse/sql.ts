/*
 * SQL for ClickHouse. ClickHouse 18.16 has no query parameters, so values become literals here, and only here: a
 * statement is a `Sql`, and the template tag accepts no other type, so no text can reach a statement unescaped.
 */

/** A part of a statement. Only this file creates instances. */
class Sql {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

export type { Sql };

/** Creates a part of a statement from a template. Its values are other parts: see {@link text} and {@link integer}. */
export function sql(strings: TemplateStringsArray, ...parts: readonly Sql[]): Sql {
  return new Sql(String.raw({ raw: strings }, ...parts));
}

/**
 * Returns a text as a literal: the hexadecimal digits of its UTF-8 bytes. No character of the text itself is in the
 * statement, so nothing depends on how the engine's parser reads quotes, backslashes or NUL.
 */
export function text(value: string): Sql {
  return new Sql(`unhex('${Buffer.from(value).toString('hex')}')`);
}

/**
 * Returns an integer as a literal.
 *
 * @throws {RangeError} if it is not a safe integer
 */
export function integer(value: number): Sql {
  if (!Number.isSafeInteger(value)) throw new RangeError('an integer in a statement should be safe');
  return new Sql(value === 0 ? '0' : String(value)); // -0 would be read as a float
}

/**
 * Returns integers as the literal of an array with signed elements of 64 bits. They are quoted, because an array of numbers
 * has the type that all of them have in common, and there is none for negative and large positive ones.
 */
export function integers(values: Iterable<number>): Sql {
  return new Sql(`CAST([${Array.from(values, (value) => `'${integer(value)}'`).join(',')}] AS Array(Int64))`);
}

/**
 * Returns hashes of 64 bits, which are decimal numbers as text, as the literal of an array.
 *
 * @throws {RangeError} if one is not a number
 */
export function hashes(values: readonly string[]): Sql {
  if (!values.every((value) => /^\d{1,20}$/.test(value))) throw new RangeError('a hash should be a decimal number');
  return new Sql(`CAST([${values.map((value) => `'${value}'`).join(',')}] AS Array(UInt64))`);
}

/** Joins parts with a separator. */
export function join(parts: readonly Sql[], separator: Sql): Sql {
  return new Sql(parts.join(String(separator)));
}

/** Joins parts with commas. */
export function list(parts: readonly Sql[]): Sql {
  return join(parts, sql`, `);
}

/** Joins conditions that must all hold. */
export function every(conditions: readonly Sql[]): Sql {
  return conditions.length === 0 ? sql`1` : join(conditions, sql` AND `);
}

/** Joins conditions of which one must hold. */
export function some(conditions: readonly Sql[]): Sql {
  return sql`(${join(conditions, sql` OR `)})`;
}
