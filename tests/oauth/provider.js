// A real OpenID provider on the loopback to sign in at: `oidc-provider`, which is certified, with a page of its own and a second
// port, from which tests let it rotate its keys, be slow, be down, and lie.
//
//     node provider.js --redirect-uri http://127.0.0.1:8080/v1/oauth/local/callback [--redirect-uri …]
//         [--port N] [--email ADDRESS] [--verified true|false] [--sub SUBJECT]
//
// Prints one line of JSON when it is ready: {"issuer", "client_id", "client_secret", "control"}. What a person types as login
// is their subject, and their address too where there is an @ in it, unless the options say otherwise.
//
// POST to `control` a JSON object to change what it does from then on, all of them optional:
//     {"rotate": true}            new keys, the old ones are gone
//     {"tamper": "nonce"}         ID tokens that are wrong (tamper.js says in which ways); "none of it" is null
//     {"delay_ms": 3000}          every answer to the service (not to a browser) comes so late; with "delay_path": "/jwks" that one alone
//     {"down": true}              nothing listens; false: again, on the same port
//     {"settings": {…}}           id_token_email (true: the address is in the ID token), alg (RS256, ES256, EdDSA, PS256),
//                                 auth (client_secret_basic, client_secret_post), iss (false: answers do not name the issuer)
//     {"people": {login: {sub, email, email_verified}}}
// GET `control` answers {"seen": [{method, path, headers}]}: what the service has asked.
import http from 'node:http';
import { parseArgs } from 'node:util';

import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

import { listen, readBody } from './http.js';
import { interact } from './page.js';
import { tampered } from './tamper.js';

// Its notices go where they are no JSON line.
console.info = console.error;
console.warn = console.error;

const { values: options } = parseArgs({
  options: {
    'redirect-uri': { type: 'string', multiple: true },
    port: { type: 'string', default: '0' },
    email: { type: 'string' },
    verified: { type: 'string', default: 'true' },
    sub: { type: 'string' },
  },
});
if (!options['redirect-uri']) throw new Error('--redirect-uri is needed, once or more');

const CLIENT = { client_id: 'counter-api', client_secret: 'a secret + of/the=tests&only:1%' };
const SERVER_TO_SERVER = ['/.well-known/openid-configuration', '/jwks', '/token', '/me'];

/** Who can sign in: whoever comes, as the login, the options or the control port say. */
const accounts = {
  people: new Map(),
  bySubject: new Map(),
  signIn(login) {
    const email = login.includes('@') ? login : `${login}@example.com`;
    const person = {
      sub: options.sub ?? login,
      email: options.email ?? email,
      email_verified: options.verified !== 'false',
      ...this.people.get(login),
    };
    this.bySubject.set(person.sub, person);
    return person.sub;
  },
  find(sub) {
    const person = accounts.bySubject.get(sub) ?? { sub };
    return { accountId: sub, claims: async () => person };
  },
};

const state = {
  settings: { id_token_email: false, alg: 'RS256', auth: 'client_secret_basic', iss: true },
  tamper: null,
  delay_ms: 0,
  delay_path: null,
  keys: await newKeys(),
  seen: [],
};

async function newKeys() {
  const made = ['RS256', 'PS256', 'ES256', 'EdDSA'].map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${crypto.randomUUID()}` };
  });
  return Promise.all(made);
}

function build(issuer) {
  const { settings, keys } = state;
  const provider = new Provider(issuer, {
    clients: [
      {
        ...CLIENT,
        redirect_uris: options['redirect-uri'],
        response_types: ['code'],
        grant_types: ['authorization_code'],
        id_token_signed_response_alg: settings.alg,
        token_endpoint_auth_method: settings.auth,
      },
    ],
    jwks: { keys },
    clientAuthMethods: [settings.auth],
    conformIdTokenClaims: !settings.id_token_email,
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    scopes: ['openid', 'email'],
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, sub) => accounts.find(sub),
    pkce: { required: () => true },
    cookies: { keys: ['of no importance on the loopback'] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    ttl: { AuthorizationCode: 60, AccessToken: 600, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
  });
  provider.use(async (ctx, next) => {
    await next();
    if (state.tamper && ctx.oidc?.route === 'token' && ctx.body?.id_token) {
      const [sub, own] = [state.tamper === 'userinfo_sub', state.keys];
      if (!sub) ctx.body.id_token = await tampered(state.tamper, ctx.body.id_token, own, CLIENT.client_secret);
    }
    if (state.tamper === 'userinfo_sub' && ctx.oidc?.route === 'userinfo') ctx.body = { ...ctx.body, sub: 'somebody-else' };
    if (state.tamper === 'issuer' && ctx.oidc?.route === 'discovery') ctx.body = { ...ctx.body, issuer: 'https://accounts.google.com' };
    if (!settings.iss && ctx.oidc?.route === 'discovery') ctx.body = { ...ctx.body, authorization_response_iss_parameter_supported: false };
  });
  return provider;
}

let provider;
let callback;
function rebuild() {
  provider = build(issuer);
  callback = provider.callback();
}

const server = http.createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  try {
    if (pathname.startsWith('/interaction/')) {
      await interact(provider, accounts, request, response);
      return;
    }
    if (SERVER_TO_SERVER.includes(pathname)) {
      state.seen.push({ method: request.method, path: request.url, headers: request.headers });
      const late = state.delay_path === null || state.delay_path === pathname;
      await new Promise((resolve) => setTimeout(resolve, late ? state.delay_ms : 0));
    }
    await callback(request, response);
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    response.end();
  }
});
const port = await listen(server, Number(options.port));
const issuer = `http://127.0.0.1:${port}`;
rebuild();

const control = http.createServer(async (request, response) => {
  if (request.method === 'POST') {
    const change = JSON.parse(await readBody(request));
    for (const [login, person] of Object.entries(change.people ?? {})) accounts.people.set(login, person);
    if ('tamper' in change) state.tamper = change.tamper;
    if ('delay_ms' in change) state.delay_ms = change.delay_ms;
    if ('delay_path' in change) state.delay_path = change.delay_path;
    if (change.rotate) state.keys = await newKeys();
    if (change.settings) Object.assign(state.settings, change.settings);
    if (change.rotate || change.settings) rebuild();
    if (change.down === true) {
      server.close();
      server.closeAllConnections();
    }
    if (change.down === false) await listen(server, port);
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ seen: state.seen }));
});
const controlPort = await listen(control);

console.log(JSON.stringify({ issuer, ...CLIENT, control: `http://127.0.0.1:${controlPort}/` }));
