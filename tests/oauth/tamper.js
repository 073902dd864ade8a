// Ways in which a provider, or somebody in its place, can lie in an ID token. Each is signed as well as the liar can.
import { SignJWT, UnsecuredJWT, decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, importJWK } from 'jose';

const now = () => Math.floor(Date.now() / 1000);

const claims = {
  nonce: (token) => ({ ...token, nonce: 'of-another-sign-in' }),
  no_nonce: ({ nonce, ...token }) => token,
  aud: (token) => ({ ...token, aud: 'another-client' }),
  several_aud: (token) => ({ ...token, aud: [token.aud, 'another-client'] }),
  azp: (token) => ({ ...token, aud: [token.aud, 'another-client'], azp: 'another-client' }),
  iss: (token) => ({ ...token, iss: 'https://accounts.google.com' }),
  exp: (token) => ({ ...token, exp: now() - 3600 }),
  iat: (token) => ({ ...token, iat: now() + 3600 }),
  no_sub: ({ sub, ...token }) => token,
};

/** An ID token that is wrong in this way; `privateKeys` and `secret` are the provider's own. */
export async function tampered(way, idToken, privateKeys, secret) {
  const header = decodeProtectedHeader(idToken);
  const own = privateKeys.find((key) => key.kid === header.kid);
  const payload = decodeJwt(idToken);
  if (claims[way]) {
    return new SignJWT(claims[way](payload)).setProtectedHeader(header).sign(await importJWK(own, header.alg));
  }
  switch (way) {
    case 'none':
      return new UnsecuredJWT(payload).encode();
    case 'hs256_secret':
      return new SignJWT(payload).setProtectedHeader({ alg: 'HS256', kid: header.kid }).sign(new TextEncoder().encode(secret));
    case 'hs256_public': {
      // The old trick: the public key as the secret of an HMAC.
      const bytes = Buffer.from(JSON.stringify({ kty: own.kty, n: own.n, e: own.e }));
      return new SignJWT(payload).setProtectedHeader({ alg: 'HS256', kid: header.kid }).sign(bytes);
    }
    case 'signature': {
      const { privateKey } = await generateKeyPair(header.alg, { extractable: true });
      return new SignJWT(payload).setProtectedHeader(header).sign(privateKey);
    }
    case 'unknown_key': {
      const { privateKey } = await generateKeyPair(header.alg, { extractable: true });
      return new SignJWT(payload).setProtectedHeader({ ...header, kid: 'nobody-knows-it' }).sign(privateKey);
    }
    case 'embedded_key': {
      // A token that brings its own key along.
      const { privateKey, publicKey } = await generateKeyPair(header.alg, { extractable: true });
      const jwk = await exportJWK(publicKey);
      return new SignJWT(payload).setProtectedHeader({ ...header, kid: 'own', jwk }).sign(privateKey);
    }
    default:
      throw new Error(`there is no way ${way} to tamper with an ID token`);
  }
}
