import type { ForwardScheme } from '../formats/forward-url.ts';
import type { S3Access } from '../formats/s3.ts';
import type { Sink, SinkOptions } from './sink.ts';

/** Loads the sink of each scheme. A server loads only what its FORWARD_URL names. */
const SINKS: Readonly<Record<ForwardScheme, () => Promise<(options: SinkOptions, s3: S3Access) => Sink>>> = {
  clickhouse: async () => (await import('./clickhouse/sink.ts')).createClickHouseSink,
  clickhouses: async () => (await import('./clickhouse/sink.ts')).createClickHouseSink,
  postgres: async () => (await import('./postgres/sink.ts')).createPostgresSink,
  s3: async () => (await import('./s3/sink.ts')).createS3Sink,
  nats: async () => (await import('./nats/nats-sink.ts')).createNatsSink,
};

/** Creates the sink of a URL. It connects when it is prepared. */
export async function createSink(scheme: ForwardScheme, options: SinkOptions, s3: S3Access): Promise<Sink> {
  const create = await SINKS[scheme]();
  return create(options, s3);
}
