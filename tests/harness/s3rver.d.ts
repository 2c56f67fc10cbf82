declare module '@20minutes/s3rver' {
  import type { Server } from 'node:http';
  import type { AddressInfo } from 'node:net';

  interface ListOptions {
    readonly prefix?: string;
    readonly delimiter?: string;
    readonly startAfter?: string;
    /** Unlimited by default. */
    readonly maxKeys?: number;
  }

  interface Listing {
    readonly objects: { readonly key: string }[];
    readonly commonPrefixes: readonly string[];
    readonly isTruncated: boolean;
  }

  /** The part of the server that the tests use; the package has no types. */
  export default class S3rver {
    constructor(options: {
      readonly address: string;
      readonly port: number;
      readonly silent: boolean;
      readonly directory: string;
      readonly vhostBuckets: boolean;
      readonly allowMismatchedSignatures: boolean;
      readonly configureBuckets: readonly { readonly name: string }[];
    });
    // biome-ignore lint/suspicious/noExplicitAny: the functions take koa's context
    readonly middleware: ((context: any, next: () => Promise<void>) => Promise<void>)[];
    readonly httpServer: Server;
    readonly store: {
      listObjects(bucket: string, options: ListOptions): Promise<Listing>;
      existsObject(bucket: string, key: string): Promise<boolean>;
      getMetadata(bucket: string, key: string): Promise<{ readonly etag: string }>;
    };
    run(): Promise<AddressInfo>;
    close(): Promise<void>;
  }
}
