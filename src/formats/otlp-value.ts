import { type Static, Type } from '@sinclair/typebox';

/*
 * Values in the JSON format of OTLP (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): 64-bit integers
 * may be decimal strings, non-finite numbers are strings, and null is the same as a missing value.
 */

/** A signed 64-bit integer. */
export const OtlpInteger = Type.Union([Type.String({ pattern: '^-?\\d{1,19}$' }), Type.Integer(), Type.Null()]);
/** A double. */
export const OtlpDouble = Type.Union([
  Type.Number(),
  Type.String({ pattern: '^(?:NaN|-?Infinity|-?\\d+(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)$' }),
  Type.Null(),
]);
/** A time in nanoseconds since 1970, as an unsigned 64-bit integer; 0 means unknown. */
export const OtlpTime = Type.Union([
  Type.String({ pattern: '^\\d{1,20}$' }),
  Type.Integer({ minimum: 0, maximum: 2 ** 64 }),
  Type.Null(),
]);

/** The value of an attribute. */
export const OtlpValue = Type.Recursive((Value) =>
  Type.Object({
    stringValue: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    boolValue: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
    intValue: Type.Optional(OtlpInteger),
    doubleValue: Type.Optional(OtlpDouble),
    bytesValue: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    arrayValue: Type.Optional(Type.Object({ values: Type.Optional(Type.Array(Value)) })),
    kvlistValue: Type.Optional(
      Type.Object({
        values: Type.Optional(Type.Array(Type.Object({ key: Type.String(), value: Type.Optional(Value) }))),
      }),
    ),
  }),
);
export type OtlpValue = Static<typeof OtlpValue>;

/** An attribute. One without a value has an empty value. */
export interface OtlpAttribute {
  readonly key: string;
  readonly value?: OtlpValue | undefined;
}

/** Returns an integer or a double as the nearest double; undefined if there is none. */
export function numberOf(
  value: Static<typeof OtlpInteger> | Static<typeof OtlpDouble> | undefined,
): number | undefined {
  return value === undefined || value === null ? undefined : Number(value);
}

/** Returns a time in microseconds since 1970, truncated; undefined if it is unknown. */
export function microsecondsOf(nanoseconds: Static<typeof OtlpTime> | undefined): number | undefined {
  const time = BigInt(nanoseconds ?? 0);
  return time === 0n ? undefined : Number(time / 1000n);
}

/**
 * Returns attributes as text: `key=value` pairs in the order of their keys, separated by commas. A backslash precedes a
 * comma and a backslash, and in keys also an equals sign, so different attributes have different texts. Arrays and maps
 * are JSON. Of duplicate keys, the last one wins.
 */
export function attributesText(attributes: readonly OtlpAttribute[]): string {
  return sortedByKey(attributes)
    .map(([key, value]) => `${key.replace(/[\\,=]/g, '\\$&')}=${textOf(value).replace(/[\\,]/g, '\\$&')}`)
    .join();
}

/** Returns the last value of each key, sorted by UTF-16 code units. */
function sortedByKey(attributes: readonly OtlpAttribute[]): [string, OtlpValue][] {
  return [...new Map(attributes.map(({ key, value = {} }) => [key, value]))].sort(([a], [b]) => (a < b ? -1 : 1));
}

function textOf(value: OtlpValue): string {
  const text = value.stringValue ?? value.bytesValue;
  if (text != null) return text;
  if (value.doubleValue != null) return String(Number(value.doubleValue));
  const json = jsonOf(value);
  return json === 'null' ? '' : json;
}

/** Returns a value as JSON. Doubles that are not finite are strings, and bytes stay in Base64. */
function jsonOf({
  stringValue,
  boolValue,
  intValue,
  doubleValue,
  bytesValue,
  arrayValue,
  kvlistValue,
}: OtlpValue): string {
  const text = stringValue ?? bytesValue;
  if (text != null) return JSON.stringify(text);
  if (boolValue != null) return String(boolValue);
  if (intValue != null) return String(BigInt(intValue));
  if (doubleValue != null) {
    const number = Number(doubleValue);
    return Number.isFinite(number) ? String(number) : `"${number}"`;
  }
  if (arrayValue) return `[${(arrayValue.values ?? []).map(jsonOf).join()}]`;
  if (!kvlistValue) return 'null';
  const members = sortedByKey(kvlistValue.values ?? []).map(
    ([key, value]) => `${JSON.stringify(key)}:${jsonOf(value)}`,
  );
  return `{${members.join()}}`;
}
