// Files that the build puts inside the binary: the import is the file's path there.
declare module 'swagger-ui-dist/*.js' {
  const path: string;
  export default path;
}
declare module 'swagger-ui-dist/*.css' {
  const path: string;
  export default path;
}

// JSON.parse source text access (https://tc39.es/proposal-json-parse-with-source/), which the runtime has.
interface JSON {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
  /** A value that JSON.stringify writes as the given text. */
  rawJSON(text: string): object;
}

// Math.sumPrecise (https://tc39.es/proposal-math-sum/), which the runtime has.
interface Math {
  /** The exact sum of numbers, rounded once. */
  sumPrecise(numbers: Iterable<number>): number;
}
