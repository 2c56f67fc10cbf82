import { PASSED_FIELDS } from './protocol.ts';

/*
 * Recognizes small recording requests in what a connection has received. Everything else, and whatever is not certain to
 * mean the same to any parser, is left to Bun's: a request is never parsed by both, so they cannot disagree.
 */

/** A recording request that is complete. */
export interface RecognizedRequest {
  readonly kind: 'recording';
  /** The index of its path. */
  readonly path: number;
  /** The values of {@link PASSED_FIELDS}; null for those that it lacks. */
  readonly fields: readonly (string | null)[];
  /** Where its body begins and ends. */
  readonly bodyStart: number;
  readonly end: number;
}

/** The head of another request. */
export interface OtherRequest {
  readonly kind: 'other';
  /** Where the request ends; undefined if that is not certain. */
  readonly end: number | undefined;
  readonly isHead: boolean;
}

/** A request that is to be continued. */
export interface IncompleteRequest {
  readonly kind: 'incomplete';
  /** Where it will end; undefined if its head is incomplete. */
  readonly end: number | undefined;
}

/** What the received bytes begin with. */
export type Recognized = RecognizedRequest | OtherRequest | IncompleteRequest;

const INCOMPLETE: IncompleteRequest = { kind: 'incomplete', end: undefined };
const UNCERTAIN: OtherRequest = { kind: 'other', end: undefined, isHead: false };

/** How a head ends. */
const HEAD_END = '\r\n\r\n';
/** Longest head that is parsed, in bytes. Bun's parser rejects longer ones. */
const MAX_HEAD_BYTES = 16 * 1024;
/** Most header fields that are parsed. */
const MAX_FIELDS = 64;
/** How recording requests begin. */
const POST = Buffer.from('POST /');

const REQUEST_LINE = /^([A-Z]{1,16}) (\/[!-~]*) HTTP\/1\.1$/;
/** A field with at most one space around its value. */
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?((?:[!-~](?:[\t -~]*[!-~])?)?)$/;
const HOST = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i;
const CONTENT_LENGTH = /^\d{1,12}$/;

const FIELD_INDEX: ReadonlyMap<string, number> = new Map(PASSED_FIELDS.map((name, index) => [name, index]));
const LENGTH_INDEX = PASSED_FIELDS.indexOf('content-length');

/** The fields that decide how a request is handled, and whether it still ends where its `Content-Length` says. */
const OTHER_FIELDS: ReadonlyMap<string, 'body' | 'connection' | 'framing' | 'host' | 'origin'> = new Map([
  ['content-encoding', 'body'],
  ['connection', 'connection'],
  ['expect', 'framing'],
  ['host', 'host'],
  ['origin', 'origin'],
  ['transfer-encoding', 'framing'],
  ['upgrade', 'framing'],
] as const);

/**
 * Creates the function that recognizes the first request in a buffer.
 *
 * @param paths the paths of the recording routes
 * @param maxBodyBytes requests with a larger body are not recognized
 * @param hasCors whether requests with an origin are left to the main thread
 */
export function createRecognizer(paths: readonly string[], maxBodyBytes: number, hasCors: boolean) {
  const pathIndex = new Map(paths.map((path, index) => [path, index]));

  return (buffer: Buffer): Recognized => {
    const start = Math.min(buffer.length, POST.length);
    const mayRecord = buffer.compare(POST, 0, start, 0, start) === 0;
    const headEnd = buffer.indexOf(HEAD_END);
    if (headEnd < 0) return mayRecord && buffer.length <= MAX_HEAD_BYTES ? INCOMPLETE : UNCERTAIN;
    if (headEnd + HEAD_END.length > MAX_HEAD_BYTES) return UNCERTAIN;
    const [requestLine = '', ...lines] = buffer.toString('latin1', 0, headEnd).split('\r\n');
    const [, method, target = ''] = REQUEST_LINE.exec(requestLine) ?? [];
    if (method === undefined || method === 'CONNECT' || lines.length > MAX_FIELDS) return UNCERTAIN;
    const path = method === 'POST' ? pathIndex.get(target) : undefined;

    const fields: (string | null)[] = PASSED_FIELDS.map(() => null);
    let isRecording = path !== undefined;
    let hosts = 0;
    for (const line of lines) {
      const [, name, value = ''] = FIELD.exec(line) ?? [];
      if (name === undefined) return UNCERTAIN;
      const lowerName = name.toLowerCase();
      const index = FIELD_INDEX.get(lowerName);
      if (index !== undefined) {
        if (fields[index] !== null) {
          if (index === LENGTH_INDEX) return UNCERTAIN;
          isRecording = false;
        }
        fields[index] = value;
        continue;
      }
      switch (OTHER_FIELDS.get(lowerName)) {
        case 'framing':
          return UNCERTAIN;
        case 'connection':
          if (value.toLowerCase() !== 'keep-alive') return UNCERTAIN;
          break;
        case 'host':
          if (++hosts > 1 || !HOST.test(value)) return UNCERTAIN;
          break;
        case 'body':
          isRecording = false;
          break;
        case 'origin':
          if (hasCors) isRecording = false;
          break;
        case undefined:
          break;
      }
    }
    if (hosts === 0) return UNCERTAIN;
    const length = fields[LENGTH_INDEX] ?? null;
    if (length !== null && !CONTENT_LENGTH.test(length)) return UNCERTAIN;
    const bodyStart = headEnd + HEAD_END.length;
    const end = bodyStart + Number(length ?? 0);
    if (!isRecording || path === undefined || length === null || Number(length) > maxBodyBytes) {
      return { kind: 'other', end, isHead: method === 'HEAD' };
    }
    return buffer.length < end ? { kind: 'incomplete', end } : { kind: 'recording', path, fields, bodyStart, end };
  };
}

/** Where a response ends. */
export interface ResponseFraming {
  readonly headBytes: number;
  /** The size of its body; undefined if only Bun's parser or the end of the connection tells. */
  readonly bodyBytes: number | undefined;
}

/**
 * Returns where a response of the main thread ends; undefined if its head is not complete.
 *
 * @param isHead whether it is the response to a HEAD request
 */
export function responseFraming(buffer: Buffer, isHead: boolean): ResponseFraming | undefined {
  const headEnd = buffer.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const head = buffer.toString('latin1', 0, headEnd);
  const headBytes = headEnd + HEAD_END.length;
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0);
  if (status < 200 || /\r\nconnection: *close/i.test(head)) return { headBytes, bodyBytes: undefined };
  if (isHead || status === 204 || status === 304) return { headBytes, bodyBytes: 0 };
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  return { headBytes, bodyBytes: length === undefined ? undefined : Number(length) };
}
