import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { expectError, METRIC, post, ROUTES, rows, send } from '../harness/client.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { base64url, goodClaims, secondsFromNow, token } from '../harness/tokens.ts';

const HEADER = { alg: 'HS256', typ: 'JWT' };

/** Returns a token from raw parts, signed by HMAC with the given hash and key. */
function forge(header: unknown, claims: unknown, secret: string | Buffer = SECRET, hash = 'sha256'): string {
  const input = `${base64url(header)}.${base64url(claims)}`;
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
}

/** Returns a token signed with a private key. */
function signed(header: unknown, claims: unknown, key: KeyObject): string {
  const input = Buffer.from(`${base64url(header)}.${base64url(claims)}`);
  const signature = sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', input, {
    key,
    dsaEncoding: 'ieee-p1363',
  });
  return `${input}.${signature.toString('base64url')}`;
}

/** Sends a valid metric with a raw Authorization header. */
function withHeader(target: Target, authorization: string) {
  return post(target, '/log_raw_metric', METRIC, { authorization });
}

async function expectRejected(target: Target, tokenText: string, message: string | RegExp): Promise<void> {
  const before = rows(target, 'metrics').length;
  const response = await withHeader(target, `Bearer ${tokenText}`);
  expectError(response, 401, 'unauthorized');
  expect(response.body.message).toMatch(message);
  expect(response.headers.get('www-authenticate')).toStartWith('Bearer');
  expect(rows(target, 'metrics').length).toBe(before);
}

describe('a shared secret', () => {
  let target: Target;
  beforeAll(async () => {
    target = await startTarget({ JWT_SECRET: SECRET });
  });
  afterAll(() => target.stop());

  test('accepts a valid token', async () => {
    expect((await withHeader(target, `Bearer ${forge(HEADER, goodClaims())}`)).status).toBe(200);
    expect((await withHeader(target, `bearer  ${forge(HEADER, goodClaims())} `)).status).toBe(200);
    expect(
      (await withHeader(target, `Bearer ${forge(HEADER, goodClaims({ aud: ['other', 'authenticated'] }))}`)).status,
    ).toBe(200);
    expect((await withHeader(target, `Bearer ${forge(HEADER, goodClaims({ sub: '😀'.repeat(255) }))}`)).status).toBe(
      200,
    );
  });

  const good = forge(HEADER, goodClaims());
  const [head = '', body = '', signature = ''] = good.split('.');
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  // the 43rd character holds 4 bits of the 256; its other 2 are 0, and any other value decodes to the same bytes
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const spareBits = signature.slice(0, -1) + alphabet[alphabet.indexOf(signature.slice(-1)) + 1];

  const attacks: [name: string, token: string, message: string | RegExp][] = [
    ['alg none, no signature', `${base64url({ alg: 'none' })}.${body}.`, 'Invalid token'],
    ['alg none with a signature', `${base64url({ alg: 'none' })}.${body}.${signature}`, 'Invalid token'],
    ['alg NONE', forge({ alg: 'NONE' }, goodClaims()), 'Invalid token: its algorithm'],
    ['alg nOnE', forge({ alg: 'nOnE' }, goodClaims()), 'Invalid token: its algorithm'],
    ['alg HS384', forge({ alg: 'HS384' }, goodClaims(), SECRET, 'sha384'), 'Invalid token: its algorithm'],
    ['alg HS512', forge({ alg: 'HS512' }, goodClaims(), SECRET, 'sha512'), 'Invalid token: its algorithm'],
    ['alg hs256', forge({ alg: 'hs256' }, goodClaims()), 'Invalid token: its algorithm'],
    ["alg RS256 with the attacker's key", signed({ alg: 'RS256' }, goodClaims(), rsa.privateKey), 'Invalid token'],
    ['alg missing', forge({ typ: 'JWT' }, goodClaims()), 'Invalid token'],
    ['alg null', forge({ alg: null }, goodClaims()), 'Invalid token'],
    ['alg a list', forge({ alg: ['HS256'] }, goodClaims()), 'Invalid token'],
    ['alg a number', forge({ alg: 256 }, goodClaims()), 'Invalid token'],
    ['alg of an object prototype', forge({ alg: 'constructor' }, goodClaims()), 'Invalid token'],
    [
      'an embedded key',
      forge({ ...HEADER, jwk: { kty: 'oct', k: base64url('attacker') } }, goodClaims(), 'attacker'),
      'Invalid token: signature',
    ],
    [
      'a key URL',
      forge({ ...HEADER, jku: 'http://127.0.0.1:1/keys' }, goodClaims(), 'attacker'),
      'Invalid token: signature',
    ],
    [
      'a key id that is a path',
      forge({ ...HEADER, kid: '../../dev/null' }, goodClaims(), ''),
      'Invalid token: signature',
    ],
    ['a certificate', forge({ ...HEADER, x5c: ['MIIB'] }, goodClaims(), 'attacker'), 'Invalid token: signature'],
    ['an unknown critical extension', forge({ ...HEADER, crit: ['exp'], exp: 1 }, goodClaims()), 'Invalid token'],
    ['an unencoded payload', forge({ ...HEADER, b64: false, crit: ['b64'] }, goodClaims()), 'Invalid token'],
    ['another secret', forge(HEADER, goodClaims(), 'another-secret-of-32-bytes-or-so!'), 'Invalid token: signature'],
    ['an empty secret', forge(HEADER, goodClaims(), ''), 'Invalid token: signature'],
    [
      'the signature of other claims',
      `${head}.${base64url(goodClaims({ sub: 'root' }))}.${signature}`,
      'Invalid token: signature',
    ],
    ['a truncated signature', good.slice(0, -4), 'Invalid token'],
    ['an empty signature', `${head}.${body}.`, 'Invalid token'],
    ['a signature that differs in its spare bits', `${head}.${body}.${spareBits}`, 'Invalid token'],
    ['padding', `${good}=`, 'Invalid token'],
    [
      'the standard base64 alphabet',
      `${head}.${body}.${signature.slice(0, 5)}+/${signature.slice(7)}`,
      'Invalid token',
    ],
    ['one part', 'abc', 'Invalid token'],
    ['two parts', `${head}.${body}`, 'Invalid token'],
    ['four parts', `${good}.x`, 'Invalid token'],
    ['five parts (an encrypted token)', `${base64url({ alg: 'dir', enc: 'A256GCM' })}..a.b.c`, 'Invalid token'],
    ['a header that is not JSON', `${base64url('{')}.${body}.${signature}`, 'Invalid token'],
    ['a header that is a list', forge([], goodClaims()), 'Invalid token'],
    ['claims that are not JSON', forge(HEADER, 'claims'), 'Invalid token'],
    ['claims that are a list', forge(HEADER, [goodClaims()]), 'Invalid token'],
    ['claims that are null', forge(HEADER, null), 'Invalid token'],
    ['no exp', forge(HEADER, goodClaims({ exp: undefined })), 'Invalid token: "exp" is missing'],
    ['an exp that has passed', forge(HEADER, goodClaims({ exp: secondsFromNow(-1) })), 'Token has expired'],
    ['an exp of 0', forge(HEADER, goodClaims({ exp: 0 })), 'Token has expired'],
    ['an exp of 1e300', forge(HEADER, `{"sub":"a","aud":"authenticated","exp":1e300}`), 'Invalid token: "exp"'],
    ['an infinite exp', forge(HEADER, `{"sub":"a","aud":"authenticated","exp":1e999}`), 'Invalid token: "exp"'],
    [
      'an exp that is text',
      forge(HEADER, { ...goodClaims(), exp: String(secondsFromNow(600)) }),
      'Invalid token: "exp"',
    ],
    ['an exp that is null', forge(HEADER, { ...goodClaims(), exp: null }), 'Invalid token'],
    ['an nbf in the future', forge(HEADER, goodClaims({ nbf: secondsFromNow(600) })), 'Invalid token: "nbf"'],
    ['an nbf that is text', forge(HEADER, { ...goodClaims(), nbf: 'now' }), 'Invalid token: "nbf"'],
    ['no aud', forge(HEADER, goodClaims({ aud: undefined })), 'Invalid token: "aud" is missing'],
    ['another aud', forge(HEADER, goodClaims({ aud: 'anon' })), 'Invalid token: "aud"'],
    ['an aud with an accepted prefix', forge(HEADER, goodClaims({ aud: 'authenticated2' })), 'Invalid token: "aud"'],
    ['an empty aud list', forge(HEADER, goodClaims({ aud: [] })), 'Invalid token: "aud"'],
    ['no sub', forge(HEADER, goodClaims({ sub: undefined })), 'User ID not found in token'],
    ['an empty sub', forge(HEADER, goodClaims({ sub: '' })), 'User ID not found in token'],
    ['a sub that is a number', forge(HEADER, { ...goodClaims(), sub: 1 }), 'User ID not found in token'],
    ['a sub that is a list', forge(HEADER, { ...goodClaims(), sub: ['user-1'] }), 'User ID not found in token'],
    ['a sub that is null', forge(HEADER, { ...goodClaims(), sub: null }), 'User ID not found in token'],
    ['a sub that is an object', forge(HEADER, { ...goodClaims(), sub: {} }), 'User ID not found in token'],
    ['a sub of 256 characters', forge(HEADER, goodClaims({ sub: 'x'.repeat(256) })), 'Invalid token: "sub"'],
    ['a sub with a NUL', forge(HEADER, goodClaims({ sub: 'a\0b' })), 'Invalid token: "sub"'],
    ['a sub with a line end', forge(HEADER, goodClaims({ sub: 'a\n' })), 'Invalid token: "sub"'],
    ['a sub with a C1 control', forge(HEADER, goodClaims({ sub: 'a\u0085' })), 'Invalid token: "sub"'],
    [
      'a sub with half a surrogate pair',
      forge(HEADER, '{"sub":"\\ud800","aud":"authenticated","exp":9999999999}'),
      'Invalid token: "sub"',
    ],
  ];

  test.each(attacks)('rejects %s', (_name, forged, message) => expectRejected(target, forged, message));

  test('is tested with at least 40 attacks', () => expect(attacks.length).toBeGreaterThanOrEqual(40));

  test('accepts a token up to the limit of 16 KB for all header fields', async () => {
    // some issuers list hundreds of groups in a token
    const groups = Array.from({ length: 200 }, (_, i) => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`);
    for (const filler of [groups, 'x'.repeat(11_700)]) {
      const long = forge(HEADER, goodClaims({ filler }));
      expect(long.length).toBeGreaterThan(10_500);
      expect((await withHeader(target, `Bearer ${long}`)).status).toBe(200);
    }
  });

  test('never passes a token of one megabyte to a route', async () => {
    const outcome = await withHeader(target, `Bearer ${'x'.repeat(1024 ** 2)}`).then(
      ({ status }) => status,
      () => 'closed',
    );
    expect([401, 431, 'closed']).toContain(outcome);
    expect((await withHeader(target, `Bearer ${good}`)).status).toBe(200);
  });

  test.each(['', ' ', 'Bearer', 'Bearer ', 'Basic dXNlcjpwYXNz', 'Token abc', `Bearer: x`, 'Bearer a b'])(
    'rejects the header %p',
    async (header) => {
      const response = await withHeader(target, header);
      expectError(response, 401, 'unauthorized');
    },
  );

  test('rejects the bare token', async () => {
    expectError(await withHeader(target, good), 401, 'unauthorized');
  });

  test('rejects two Authorization headers, which arrive joined by a comma', async () => {
    for (const second of ['Bearer x', `Bearer ${good}`]) {
      const headers = new Headers({ 'content-type': 'application/json' });
      headers.append('authorization', `Bearer ${good}`);
      headers.append('authorization', second);
      const url = `${target.url}/log_raw_metric`;
      expectError(await send(url, { method: 'POST', headers, body: JSON.stringify(METRIC) }), 401, 'unauthorized');
    }
  });

  test('rejects a token in the URL or in a cookie', async () => {
    const url = `${target.url}/log_raw_metric?access_token=${good}&token=${good}`;
    const headers = { cookie: `token=${good}; authorization=${good}`, 'content-type': 'application/json' };
    expectError(await send(url, { method: 'POST', headers, body: JSON.stringify(METRIC) }), 401, 'unauthorized');
  });

  test.each([...ROUTES])('returns 401 for %s without a token, for any body', async (path) => {
    const bodies = ['', '{', '[]', JSON.stringify(METRIC), 'x'.repeat(3 * 1024 ** 2), '['.repeat(100_000)];
    for (const body of bodies) {
      for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x']) {
        const response = await send(target.url + path, { method: 'POST', body, headers: { 'content-type': type } });
        expectError(response, 401, 'unauthorized');
        expect(response.body.detail).toBe('Authorization header is missing');
      }
    }
  });
});

describe.each([
  ['RS256', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['ES256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ['EdDSA', () => generateKeyPairSync('ed25519')],
] as const)('a public key for %s', (alg, makeKeys) => {
  const { publicKey, privateKey } = makeKeys();
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  let target: Target;
  beforeAll(async () => {
    target = await startTarget({ JWT_PUBLIC_KEY: pem, JWT_ALGORITHMS: alg });
  });
  afterAll(() => target.stop());

  test('accepts a token signed with the private key', async () => {
    expect((await withHeader(target, `Bearer ${signed({ alg }, goodClaims(), privateKey)}`)).status).toBe(200);
  });

  const der = publicKey.export({ type: 'spki', format: 'der' });
  const confusions: [string, string][] = [
    ['the PEM as HMAC secret', forge({ alg: 'HS256' }, goodClaims(), pem)],
    ['the trimmed PEM as HMAC secret', forge({ alg: 'HS256' }, goodClaims(), pem.trim())],
    ['the DER bytes as HMAC secret', forge({ alg: 'HS256' }, goodClaims(), der)],
    ['the PEM as HMAC secret under the right alg', forge({ alg }, goodClaims(), pem)],
    ['another key pair', signed({ alg }, goodClaims(), makeKeys().privateKey)],
    ['alg none', `${base64url({ alg: 'none' })}.${base64url(goodClaims())}.`],
    [
      'its own key under another algorithm',
      signed({ alg: alg === 'RS256' ? 'PS256' : 'RS256' }, goodClaims(), privateKey),
    ],
  ];
  test.each(confusions)('rejects %s', (_name, forged) => expectRejected(target, forged, 'Invalid token'));

  if (alg === 'EdDSA') {
    test('accepts the name Ed25519 too, in tokens and in JWT_ALGORITHMS', async () => {
      const named = await startTarget({ JWT_PUBLIC_KEY: pem, JWT_ALGORITHMS: 'Ed25519' });
      for (const at of [target, named]) {
        for (const name of ['Ed25519', 'EdDSA']) {
          const good = signed({ alg: name }, goodClaims(), privateKey);
          expect((await withHeader(at, `Bearer ${good}`)).status).toBe(200);
        }
      }
      await named.stop();
    });
  }

  if (alg === 'ES256') {
    test('rejects a signature of zeros', async () => {
      const input = `${base64url({ alg })}.${base64url(goodClaims())}`;
      await expectRejected(target, `${input}.${Buffer.alloc(64).toString('base64url')}`, 'Invalid token');
    });
  }
});

test('requires JWT_ISSUER and accepts any audience with JWT_AUDIENCE=none', async () => {
  const target = await startTarget({ JWT_SECRET: SECRET, JWT_ISSUER: 'https://id.example', JWT_AUDIENCE: 'none' });
  try {
    const status = async (claims: Record<string, unknown>) =>
      (await withHeader(target, `Bearer ${await token(claims)}`)).status;
    expect(await status({ iss: 'https://id.example', aud: undefined })).toBe(200);
    expect(await status({ iss: 'https://id.example', aud: 'anything' })).toBe(200);
    expect(await status({})).toBe(401);
    expect(await status({ iss: 'https://id.example/' })).toBe(401);
    expect(await status({ iss: 'https://evil.example' })).toBe(401);
  } finally {
    await target.stop();
  }
});
