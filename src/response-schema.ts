import { type TSchema, Type } from '@sinclair/typebox';

/*
 * What the schemas of the JSON responses share.
 */

/** Returns the schema of an object with exactly these fields. */
export const record = <Fields extends Record<string, TSchema>>(fields: Fields, description?: string) =>
  Type.Object(fields, { additionalProperties: false, ...(description !== undefined && { description }) });
export const orNull = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
export const literals = <const Values extends readonly string[]>(values: Values) =>
  Type.Union(values.map((value) => Type.Literal(value as Values[number])));

export const time = Type.String({ format: 'date-time', description: 'RFC 3339, with up to microsecond precision' });

export const zoneOffsets = record({
  tz: Type.String({ description: 'IANA time zone' }),
  offsets: Type.Array(
    record({
      from: orNull(
        Type.String({ format: 'date-time', description: 'When the offset takes effect; null for the first offset' }),
      ),
      offset_seconds: Type.Integer({ description: 'Local time minus UTC' }),
    }),
  ),
});
