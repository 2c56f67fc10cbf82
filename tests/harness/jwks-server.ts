import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { goodClaims } from './tokens.ts';

/** Generates an issuer's key pair with a key ID. */
export async function createIssuerKey(kid: string, alg: 'RS256' | 'ES256' | 'EdDSA' = 'ES256') {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  const sign = (claims: object = {}, header: object = { kid }) =>
    new SignJWT(goodClaims({ ...claims })).setProtectedHeader({ alg, ...header }).sign(privateKey);
  return { jwk, sign };
}

/** Starts a JWKS server. Tests set its keys or its response, and read the number of requests. */
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
