import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { goodClaims } from './tokens.ts';

/** A key pair that an issuer signs with, under a key id. */
export async function issuerKey(kid: string, alg: 'RS256' | 'ES256' | 'EdDSA' = 'ES256') {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  const sign = (claims: object = {}, header: object = { kid }) =>
    new SignJWT(goodClaims({ ...claims })).setProtectedHeader({ alg, ...header }).sign(privateKey);
  return { jwk, sign };
}

/** A real JWKS server, whose answers a test sets and whose requests it counts. */
export function startJwksServer(port = 0) {
  const state = {
    keys: [] as object[],
    response: undefined as (() => Response | Promise<Response>) | undefined,
    requests: 0,
  };
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port,
    fetch() {
      state.requests++;
      return state.response?.() ?? Response.json({ keys: state.keys });
    },
  });
  return {
    state,
    port: server.port ?? 0,
    url: `http://127.0.0.1:${server.port}/jwks.json`,
    stop: () => server.stop(true),
  };
}
