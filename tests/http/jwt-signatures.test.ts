import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import {
  constants,
  createHash,
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  privateEncrypt,
  sign,
  verify,
} from 'node:crypto';
import { METRIC, post } from '../harness/client.ts';
import { startJwksServer } from '../harness/jwks-server.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { base64url, goodClaims } from '../harness/tokens.ts';

/*
 * Test vectors like those of Project Wycheproof: nearly valid signatures in every accepted algorithm, and headers that
 * point to another key or to none.
 */

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');

/** An algorithm: the header of its valid tokens, and their signing function. */
interface Signer {
  readonly header: { alg: string; kid?: string };
  readonly sign: (input: Buffer) => Buffer;
}

const SIGNERS = {
  HS256: { header: { alg: 'HS256' }, sign: (input) => createHmac('sha256', SECRET).update(input).digest() },
  RS256: { header: { alg: 'RS256', kid: 'rsa' }, sign: (input) => sign('sha256', input, rsa.privateKey) },
  ES256: {
    header: { alg: 'ES256', kid: 'ec' },
    sign: (input) => sign('sha256', input, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }),
  },
  EdDSA: { header: { alg: 'EdDSA', kid: 'ed' }, sign: (input) => sign(null, input, ed.privateKey) },
} satisfies Record<string, Signer>;
const ALL = Object.entries(SIGNERS) as [keyof typeof SIGNERS, Signer][];

let issuer: ReturnType<typeof startJwksServer>;
let target: Target;
beforeAll(async () => {
  issuer = startJwksServer();
  issuer.state.keys = [jwkOf(rsa.publicKey, 'rsa'), jwkOf(ec.publicKey, 'ec'), jwkOf(ed.publicKey, 'ed')];
  target = await startTarget({
    JWT_SECRET: SECRET,
    JWT_JWKS_URL: issuer.url,
    JWT_ALGORITHMS: 'HS256,RS256,ES256,EdDSA',
    AUTH_FAILURE_LIMIT: 'off',
  });
});
afterAll(async () => {
  await target.stop();
  await issuer.stop();
});

function jwkOf(key: KeyObject, kid: string): object {
  return { ...key.export({ format: 'jwk' }), kid, use: 'sig' };
}

/** Returns a token with a computed signature. A header that is a string is used as is. */
function tokenOf(header: unknown, signature: (input: Buffer) => Buffer, claims: unknown = goodClaims()): string {
  const input = `${base64url(header)}.${base64url(claims)}`;
  return `${input}.${signature(Buffer.from(input)).toString('base64url')}`;
}

async function statusOf(token: string): Promise<number> {
  return (await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${token}` })).status;
}

const expectRejected = async (token: string) => expect(await statusOf(token)).toBe(401);

/** Converts a number to this many bytes, and back. */
const bytesOf = (value: bigint, length: number) => Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');
const numberOf = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`);

describe.each(ALL)('%s', (alg, { header, sign: signInput }) => {
  test('accepts a valid signature', async () => {
    expect(await statusOf(tokenOf(header, signInput))).toBe(200);
  });

  const altered: [string, (good: Buffer) => Buffer][] = [
    ['of no bytes', () => Buffer.alloc(0)],
    ['of one byte', (good) => good.subarray(0, 1)],
    ['truncated by a byte', (good) => good.subarray(0, -1)],
    ['truncated by half', (good) => good.subarray(0, good.length / 2)],
    ['without its first byte', (good) => good.subarray(1)],
    ['extended by a zero', (good) => Buffer.concat([good, Buffer.alloc(1)])],
    ['extended by itself', (good) => Buffer.concat([good, good])],
    ['with a zero before it', (good) => Buffer.concat([Buffer.alloc(1), good])],
    ['of zeros', (good) => Buffer.alloc(good.length)],
    ['of ones', (good) => Buffer.alloc(good.length, 0xff)],
    ['reversed', (good) => Buffer.from(good).reverse()],
    ['with its first bit flipped', (good) => Buffer.from(good.with(0, (good[0] ?? 0) ^ 0x80))],
    ['with its last bit flipped', (good) => Buffer.from(good.with(-1, (good.at(-1) ?? 0) ^ 1))],
    [
      'with a bit in the middle flipped',
      (good) => Buffer.from(good.with(good.length / 2, (good[good.length / 2] ?? 0) ^ 8)),
    ],
  ];
  test.each(altered)('rejects a signature %s', (_name, alter) =>
    expectRejected(tokenOf(header, (input) => alter(signInput(input)))),
  );

  test('rejects the signature of another input', async () => {
    await expectRejected(tokenOf(header, () => signInput(Buffer.from('another'))));
    await expectRejected(tokenOf(header, (input) => signInput(input.subarray(0, input.indexOf('.')))));
    await expectRejected(tokenOf(header, (input) => signInput(Buffer.concat([input, Buffer.from('\n')]))));
    await expectRejected(tokenOf(header, (input) => signInput(createHash('sha256').update(input).digest())));
  });

  const headers: [string, unknown][] = [
    ['alg none', { ...header, alg: 'none' }],
    ['alg None', { ...header, alg: 'None' }],
    ['alg NONE', { ...header, alg: 'NONE' }],
    ['alg nOnE', { ...header, alg: 'nOnE' }],
    ['alg in the other letter case', { ...header, alg: alg === 'EdDSA' ? 'EDDSA' : alg.toLowerCase() }],
    ['alg with a space', { ...header, alg: `${alg} ` }],
    ['alg with a NUL', { ...header, alg: `${alg}\0` }],
    ['alg empty', { ...header, alg: '' }],
    ['no alg', { kid: header.kid }],
    ['a list of algs', { ...header, alg: [alg] }],
    ['alg twice, the last none', `{"alg":"${alg}","kid":"${header.kid}","alg":"none"}`],
    ['an unknown critical extension', { ...header, crit: ['x'], x: 1 }],
    ['a missing critical extension', { ...header, crit: ['x'] }],
    ['an empty list of critical extensions', { ...header, crit: [] }],
    ['critical registered parameters', { ...header, crit: ['alg'] }],
    ['critical extensions as a string', { ...header, crit: 'b64', b64: true }],
    ['an unencoded payload', { ...header, crit: ['b64'], b64: false }],
    ['b64 of another type', { ...header, crit: ['b64'], b64: 'false' }],
    ['a header that is a list', [header]],
    ['a header that is null', null],
    ['a header that is a string', '"HS256"'],
    ['a header with a trailing comma', `{"alg":"${alg}","kid":"${header.kid}",}`],
  ];
  test.each(headers)('rejects %s with a valid signature', (_name, other) => expectRejected(tokenOf(other, signInput)));

  test('rejects each of these headers without a signature', async () => {
    for (const [, other] of headers) {
      const input = `${base64url(other)}.${base64url(goodClaims())}`;
      for (const end of ['', '.', '.AA']) await expectRejected(`${input}${end}`);
    }
  });

  test('never uses a key from the token', async () => {
    const attacker = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const signAsAttacker = (input: Buffer) =>
      sign('sha256', input, { key: attacker.privateKey, dsaEncoding: 'ieee-p1363' });
    const jwk = jwkOf(attacker.publicKey, 'ec');
    for (const embedded of [
      { jwk },
      { jwks: { keys: [jwk] } },
      { x5c: [attacker.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')] },
      { jku: issuer.url.replace('jwks', 'mine') },
      { x5u: issuer.url },
      { kid: JSON.stringify(jwk) },
      { key: attacker.publicKey.export({ type: 'spki', format: 'pem' }) },
    ]) {
      await expectRejected(tokenOf({ ...SIGNERS.ES256.header, ...embedded }, signAsAttacker));
      // a valid token with such a member still works, unless the member is the key ID
      if (!('kid' in embedded)) expect(await statusOf(tokenOf({ ...header, ...embedded }, signInput))).toBe(200);
    }
  });

  test('rejects base64url that is not canonical, and whitespace', async () => {
    const good = tokenOf(header, signInput);
    const [head = '', body = '', signature = ''] = good.split('.');
    for (const token of [
      `${good}=`,
      `${good}==`,
      `${head}=.${body}.${signature}`,
      `${good}A`,
      `${good}\t`.concat('x'),
      `${head} .${body}.${signature}`,
      `${head}.\t${body}.${signature}`,
      `${head}.${body}.${signature.slice(0, 8)} ${signature.slice(8)}`,
      `${head}.${body}.%2B${signature}`,
      `${head}.${body}.${signature}.`,
      `.${head}.${body}.${signature}`,
      `${head}..${signature}`,
      `${base64url(` ${JSON.stringify(header)}`)}.${body}.${signature}`,
    ]) {
      await expectRejected(token);
    }
  });
});

describe('ES256', () => {
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const p = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
  const pair = (r: bigint, s: bigint) => Buffer.concat([bytesOf(r, 32), bytesOf(s, 32)]);
  const halves = (good: Buffer) => [numberOf(good.subarray(0, 32)), numberOf(good.subarray(32))] as const;

  test('rejects r and s at the edges of their range', async () => {
    for (const value of [0n, 1n, n - 1n, n, n + 1n, p, 2n ** 256n - 1n]) {
      const edge = (make: (r: bigint, s: bigint) => Buffer) =>
        expectRejected(tokenOf(SIGNERS.ES256.header, (input) => make(...halves(SIGNERS.ES256.sign(input)))));
      await edge((r) => pair(r, value));
      await edge((_r, s) => pair(value, s));
      await edge(() => pair(value, value));
      await edge(() => pair(value, 0n));
      await edge(() => pair(value, 1n));
    }
  });

  test('rejects halves that are swapped, doubled or padded', async () => {
    const { header, sign: good } = SIGNERS.ES256;
    for (const make of [
      (r: bigint, s: bigint) => pair(s, r),
      (r: bigint) => pair(r, r),
      (r: bigint, s: bigint) => Buffer.concat([bytesOf(r, 33), bytesOf(s, 33)]),
      (r: bigint, s: bigint) => Buffer.concat([bytesOf(r, 48), bytesOf(s, 48)]),
      (r: bigint) => bytesOf(r, 32),
      (r: bigint, s: bigint) => pair(r, (s + 1n) % n),
    ]) {
      await expectRejected(tokenOf(header, (input) => make(...halves(good(input)))));
    }
  });

  test('rejects signatures in DER, of another hash and of another curve', async () => {
    const { header } = SIGNERS.ES256;
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    for (const make of [
      (input: Buffer) => sign('sha256', input, ec.privateKey),
      (input: Buffer) => sign('sha384', input, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }),
      (input: Buffer) => sign('sha1', input, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }),
      (input: Buffer) => sign('sha256', input, { key: p384.privateKey, dsaEncoding: 'ieee-p1363' }),
    ]) {
      await expectRejected(tokenOf(header, make));
      await expectRejected(tokenOf({ ...header, alg: 'ES384' }, make));
      await expectRejected(tokenOf({ ...header, alg: 'ES256K' }, make));
    }
  });
});

describe('EdDSA', () => {
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  const little = (value: bigint) => Buffer.from(bytesOf(value, 32)).reverse();
  const scalar = (good: Buffer) => numberOf(Buffer.from(good.subarray(32)).reverse());
  const identity = little(1n);

  test('accepts the name Ed25519 and no other', async () => {
    expect(await statusOf(tokenOf({ alg: 'Ed25519', kid: 'ed' }, SIGNERS.EdDSA.sign))).toBe(200);
    await expectRejected(tokenOf({ alg: 'Ed448', kid: 'ed' }, SIGNERS.EdDSA.sign));
    await expectRejected(tokenOf({ alg: 'ed25519', kid: 'ed' }, SIGNERS.EdDSA.sign));
  });

  test('rejects S outside its range: S + L, S + 2L, L, 0, and the bits above', async () => {
    const { header, sign: good } = SIGNERS.EdDSA;
    for (const make of [
      (s: bigint) => s + L,
      (s: bigint) => s + 2n * L,
      (s: bigint) => s + 8n * L,
      () => L,
      () => 0n,
      (s: bigint) => s | (1n << 255n),
      (s: bigint) => (L - s) % L,
    ]) {
      await expectRejected(
        tokenOf(header, (input) => {
          const signature = good(input);
          return Buffer.concat([signature.subarray(0, 32), little(make(scalar(signature)) % 2n ** 256n)]);
        }),
      );
    }
  });

  test('rejects small-order and non-canonical points as R', async () => {
    const { header, sign: good } = SIGNERS.EdDSA;
    const field = 2n ** 255n - 19n;
    for (const point of [
      identity,
      little(0n),
      little(field),
      little(field + 1n),
      little(field - 1n),
      Buffer.alloc(32, 0xff),
    ]) {
      await expectRejected(tokenOf(header, (input) => Buffer.concat([point, good(input).subarray(32)])));
      await expectRejected(tokenOf(header, () => Buffer.concat([point, Buffer.alloc(32)])));
    }
  });
});

describe('RS256', () => {
  const { header } = SIGNERS.RS256;
  const size = 256;
  const modulus = numberOf(Buffer.from(rsa.publicKey.export({ format: 'jwk' })['n'] as string, 'base64url'));
  const digestInfo = (input: Buffer) =>
    Buffer.concat([
      Buffer.from('3031300d060960864801650304020105000420', 'hex'),
      createHash('sha256').update(input).digest(),
    ]);
  /** Signs a raw block. */
  const raw = (block: Buffer) => privateEncrypt({ key: rsa.privateKey, padding: constants.RSA_NO_PADDING }, block);
  /** Returns the block 00 01 FF… 00, followed by the bytes. */
  const padded = (bytes: Buffer) =>
    Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(size - bytes.length - 3, 0xff), Buffer.from([0]), bytes]);

  test('accepts a valid signature built with the helpers of this test', () => {
    const input = Buffer.from('input');
    expect(raw(padded(digestInfo(input)))).toEqual(sign('sha256', input, rsa.privateKey));
    expect(verify('sha256', input, rsa.publicKey, raw(padded(digestInfo(input))))).toBe(true);
  });

  test('rejects other paddings, hashes and encodings', async () => {
    for (const make of [
      (input: Buffer) => sign('sha1', input, rsa.privateKey),
      (input: Buffer) => sign('sha512', input, rsa.privateKey),
      (input: Buffer) => sign('sha256', input, { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING }),
      // the hash without its algorithm
      (input: Buffer) => raw(padded(createHash('sha256').update(input).digest())),
      // the algorithm without its parameters
      (input: Buffer) =>
        raw(
          padded(
            Buffer.concat([
              Buffer.from('302f300b0609608648016503040201', 'hex'),
              Buffer.from('0420', 'hex'),
              createHash('sha256').update(input).digest(),
            ]),
          ),
        ),
      // short padding and trailing bytes
      (input: Buffer) => {
        const info = digestInfo(input);
        const short = Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(8, 0xff), Buffer.from([0]), info]);
        return raw(Buffer.concat([short, Buffer.alloc(size - short.length)]));
      },
      (input: Buffer) => raw(Buffer.concat([Buffer.from([0, 2]), padded(digestInfo(input)).subarray(2)])),
      (input: Buffer) => raw(Buffer.concat([Buffer.from([0, 1, 0xfe]), padded(digestInfo(input)).subarray(3)])),
    ]) {
      await expectRejected(tokenOf(header, make));
    }
  });

  test('rejects signatures outside the range of the modulus', async () => {
    const values = (good: bigint) => [0n, 1n, modulus - 1n, modulus, good + modulus, modulus - good];
    for (let i = 0; i < values(0n).length; i++) {
      const make = (input: Buffer) => {
        const value = values(numberOf(sign('sha256', input, rsa.privateKey)))[i] ?? 0n;
        return bytesOf(value, value < 2n ** BigInt(size * 8) ? size : size + 1);
      };
      await expectRejected(tokenOf(header, make));
    }
  });

  test('rejects other algorithms of the same key', async () => {
    for (const alg of ['PS256', 'RS384', 'RS512', 'PS512']) {
      await expectRejected(tokenOf({ alg, kid: 'rsa' }, SIGNERS.RS256.sign));
    }
  });
});

describe('HS256', () => {
  test('rejects other hashes and lengths', async () => {
    for (const hash of ['sha1', 'sha384', 'sha512', 'sha512-256', 'sha3-256']) {
      const mac = (input: Buffer) => createHmac(hash, SECRET).update(input).digest();
      await expectRejected(tokenOf({ alg: 'HS256' }, mac));
      await expectRejected(tokenOf({ alg: 'HS256' }, (input) => mac(input).subarray(0, 32)));
      await expectRejected(tokenOf({ alg: 'HS512' }, mac));
    }
    await expectRejected(
      tokenOf({ alg: 'HS256' }, (input) => createHash('sha256').update(SECRET).update(input).digest()),
    );
  });

  test('rejects keys that are public, empty, or similar to the secret', async () => {
    const keys: (string | Buffer)[] = [
      '',
      '\0',
      ' ',
      `${SECRET}\n`,
      SECRET.slice(0, -1),
      Buffer.from(SECRET, 'base64url'),
    ];
    for (const { publicKey } of [rsa, ec, ed]) {
      const jwk = publicKey.export({ format: 'jwk' });
      const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
      const der = publicKey.export({ type: 'spki', format: 'der' });
      keys.push(pem, pem.trim(), der, der.toString('base64'), JSON.stringify(jwk));
      for (const part of [jwk['n'], jwk['x'], jwk['e']]) {
        if (typeof part === 'string') keys.push(part, Buffer.from(part, 'base64url'));
      }
    }
    for (const key of keys) {
      for (const kid of [undefined, 'rsa', 'ec', 'ed']) {
        await expectRejected(
          tokenOf({ alg: 'HS256', kid }, (input) => createHmac('sha256', key).update(input).digest()),
        );
      }
    }
  });
});

test('uses a key only for its algorithm, regardless of the key ID', async () => {
  for (const [, { header }] of ALL) {
    for (const [, other] of ALL) {
      if (other.header.alg === header.alg) continue;
      await expectRejected(tokenOf({ ...header, kid: other.header.kid }, other.sign));
      await expectRejected(tokenOf({ alg: header.alg }, other.sign));
      if (header.kid)
        await expectRejected(tokenOf({ alg: other.header.alg, kid: header.kid }, SIGNERS.ES256.sign).concat('A'));
    }
  }
});

test('compares key IDs only as whole strings', async () => {
  const { sign: signInput } = SIGNERS.ES256;
  for (const kid of [
    '../../dev/null',
    "ec' OR '1'='1",
    'ec\0',
    ' ec',
    'EC',
    '',
    '__proto__',
    'constructor',
    0,
    null,
    ['ec'],
    { kid: 'ec' },
    true,
  ]) {
    await expectRejected(tokenOf({ alg: 'ES256', kid }, signInput));
  }
});

test('uses the last of duplicate header members, which the signature must match', async () => {
  const twice = (first: string, last: string) => `{"alg":"${first}","kid":"ec","alg":"${last}"}`;
  expect(await statusOf(tokenOf(twice('none', 'ES256'), SIGNERS.ES256.sign))).toBe(200);
  await expectRejected(tokenOf(twice('ES256', 'HS256'), SIGNERS.ES256.sign));
  await expectRejected(tokenOf(twice('HS256', 'ES256'), SIGNERS.HS256.sign));
  await expectRejected(tokenOf('{"alg":"ES256","kid":"ec","kid":"rsa"}', SIGNERS.ES256.sign));
});
