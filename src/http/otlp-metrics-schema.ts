import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { OtlpDouble, OtlpInteger, OtlpTime, OtlpValue } from '../formats/otlp-value.ts';

/** The values of a sum's aggregation temporality. */
export const DELTA = 1;
export const CUMULATIVE = 2;

/**
 * Returns the schema of an export request.
 *
 * @param value the schema of an attribute's value
 */
function requestSchema<Value extends TSchema>(value: Value) {
  const attribute = Type.Object({ key: Type.String(), value: Type.Optional(value) });
  const point = Type.Object({
    attributes: Type.Optional(Type.Array(attribute)),
    timeUnixNano: Type.Optional(OtlpTime),
    asDouble: Type.Optional(OtlpDouble),
    asInt: Type.Optional(OtlpInteger),
    flags: Type.Optional(Type.Integer({ minimum: 0 })),
    exemplars: Type.Optional(Type.Array(Type.Object({}, { additionalProperties: true }))),
  });
  const gauge = { dataPoints: Type.Optional(Type.Array(point)) };
  const unsupported = Type.Object({
    dataPoints: Type.Optional(Type.Array(Type.Object({}, { additionalProperties: true }))),
  });
  const metric = Type.Object({
    name: Type.Optional(Type.String()),
    gauge: Type.Optional(Type.Object(gauge)),
    sum: Type.Optional(
      Type.Object({
        ...gauge,
        aggregationTemporality: Type.Optional(Type.Integer({ description: '1: delta, 2: cumulative' })),
        isMonotonic: Type.Optional(Type.Boolean()),
      }),
    ),
    histogram: Type.Optional(unsupported),
    exponentialHistogram: Type.Optional(unsupported),
    summary: Type.Optional(unsupported),
  });
  const scope = Type.Object({ metrics: Type.Optional(Type.Array(metric)) });
  const resource = Type.Object({ scopeMetrics: Type.Optional(Type.Array(scope)) });
  return Type.Object(
    { resourceMetrics: Type.Optional(Type.Array(resource)) },
    {
      description: 'An ExportMetricsServiceRequest of OTLP as JSON. Fields that are not listed are ignored.',
      example: {
        resourceMetrics: [
          {
            resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
            scopeMetrics: [
              {
                metrics: [
                  {
                    name: 'orders',
                    sum: {
                      aggregationTemporality: DELTA,
                      isMonotonic: true,
                      dataPoints: [
                        {
                          attributes: [{ key: 'plan', value: { stringValue: 'pro' } }],
                          timeUnixNano: '1767225600000000000',
                          asInt: '3',
                        },
                      ],
                    },
                  },
                ],
              },
            ],
          },
        ],
      },
    },
  );
}

const ExportRequest = requestSchema(OtlpValue);
export const exportRequestCheck = TypeCompiler.Compile(ExportRequest);
export type ExportRequest = Static<typeof ExportRequest>;

/** The schema for the OpenAPI document, without the recursion in the values of attributes. */
export const OtlpMetricsRequest = requestSchema(
  Type.Object({}, { additionalProperties: true, description: 'An AnyValue of OTLP, such as {"stringValue":"pro"}' }),
);
