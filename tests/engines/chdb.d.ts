/** The parts of chdb that tests use. It has its own package.json, so that most clones do without its 543 MB. */
declare module 'chdb' {
  export class Session {
    constructor(path: string);
    query(statement: string, format?: string): string;
    queryAsync(statement: string, options: { format: string }): Promise<{ bytes(): Uint8Array<ArrayBuffer> }>;
  }
}
