// A certified authorization server, as tests/servers/oidc_provider.py configures it.
import { exportJWK, generateKeyPair } from 'jose';
import Provider, { errors } from 'oidc-provider';

import { configuration, listen, obey } from './control.mjs';
import { GRANT_TYPE, PARAMETERS, tokenExchange } from './token-exchange.mjs';

// The adapter that oidc-provider brings forgets the oldest of some 1,000 entries, and all of them when the key changes.
const kept = new Map();
class Adapter {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload, expiresIn) {
    kept.set(this.key(id), { payload, until: Date.now() + (expiresIn ?? Infinity) * 1000 });
  }

  async find(id) {
    const entry = kept.get(this.key(id));
    return entry && entry.until > Date.now() ? entry.payload : undefined;
  }

  async findByUid() {}

  async findByUserCode() {}

  async consume(id) {
    (await this.find(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    kept.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of kept) {
      if (payload.grantId === grantId) kept.delete(key);
    }
  }
}

async function signingKey() {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: crypto.randomUUID() };
}

function resourceServer(ctx, resource) {
  const found = configuration.resources[resource];
  if (!found) throw new errors.InvalidTarget();
  return {
    audience: resource,
    scope: found.scope,
    accessTokenTTL: found.ttl,
    accessTokenFormat: found.format,
    jwt: found.format === 'jwt' ? { sign: { alg: 'ES256' } } : undefined,
  };
}

const lifetime = (ctx, token) => token.resourceServer?.accessTokenTTL ?? configuration.ttl;

function provider(issuer, keys) {
  const made = new Provider(issuer, {
    adapter: Adapter,
    clients: configuration.clients,
    clientDefaults: {
      grant_types: ['client_credentials'], response_types: [], redirect_uris: [], id_token_signed_response_alg: 'ES256',
    },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'EdDSA', 'PS256', 'RS256'], dPoPSigningAlgValues: ['ES256', 'EdDSA'] },
    findAccount: (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    jwks: { keys },
    scopes: configuration.scopes,
    ttl: { AccessToken: lifetime, ClientCredentials: lifetime, Grant: 86400 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      introspection: { enabled: true },
      registration: { enabled: true, initialAccessToken: configuration.initial_access_token },
      registrationManagement: { enabled: true, rotateRegistrationAccessToken: !configuration.keeps_registration_token },
      resourceIndicators: { enabled: true, defaultResource: () => undefined, getResourceServerInfo: resourceServer },
      revocation: { enabled: true },
    },
  });
  if (configuration.replaces_secret) {
    // RFC 7592 section 2.2 lets a server answer an update with another secret; this one does not by itself.
    made.use(async (ctx, next) => {
      await next();
      if (ctx.oidc?.route !== 'client_update' || ctx.status !== 200 || !ctx.body.client_secret) return;
      ctx.body.client_secret = crypto.randomUUID().repeat(2);
      const stored = await new Adapter('Client').find(ctx.body.client_id);
      await new Adapter('Client').upsert(ctx.body.client_id, { ...stored, client_secret: ctx.body.client_secret });
    });
  }
  made.registerGrantType(GRANT_TYPE, tokenExchange(configuration.trusted, resourceServer), PARAMETERS);
  return made;
}

let handler;
const [, issuer] = await listen((request, response) => handler(request, response));
let keys = [await signingKey()];
const serve = () => {
  handler = provider(issuer, keys).callback();
};
serve();
obey(issuer, {
  // Sign by a new key; the ones before it stay published.
  rotate: async () => {
    keys = [await signingKey(), ...keys];
    serve();
    return keys[0].kid;
  },
  // Publish nothing but the key that signs.
  forget: () => {
    keys = keys.slice(0, 1);
    serve();
  },
});
