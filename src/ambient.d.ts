// Files that are embedded in the binary. Importing one returns its path there.
declare module 'swagger-ui-dist/*.js' {
  const path: string;
  export default path;
}
declare module 'swagger-ui-dist/*.css' {
  const path: string;
  export default path;
}

// JSON.parse source text access (https://tc39.es/proposal-json-parse-with-source/), supported by the runtime.
interface JSON {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
  /** Returns a value that JSON.stringify writes as the given text. */
  rawJSON(text: string): object;
  /** Returns whether a value is the result of rawJSON. */
  isRawJSON(value: unknown): boolean;
}

// Math.sumPrecise (https://tc39.es/proposal-math-sum/), supported by the runtime.
interface Math {
  /** Returns the exact sum of numbers, rounded once. */
  sumPrecise(numbers: Iterable<number>): number;
}

declare module 'snappyjs/snappy_compressor.js' {
  /** Compresses a block of bytes with Snappy. */
  export class SnappyCompressor {
    constructor(uncompressed: Uint8Array);
    maxCompressedLength(): number;
    /** Compresses into a buffer of at least that length. Returns the number of bytes written. */
    compressToBuffer(output: Uint8Array): number;
  }
}
