// Token exchange (RFC 8693): an access token for the subject of another issuer's JWT. oidc-provider has no such grant.
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import { errors } from 'oidc-provider';

export const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const PARAMETERS = [
  'subject_token', 'subject_token_type', 'requested_token_type', 'actor_token', 'actor_token_type', 'audience', 'resource', 'scope',
];
const TYPE = 'urn:ietf:params:oauth:token-type:';

// RFC 8693 section 2.2.2: a subject token that is not acceptable is an invalid_request.
async function subjectOf(token, trusted, issuer) {
  try {
    const known = trusted[decodeJwt(token).iss];
    const { payload } = await jwtVerify(token, createLocalJWKSet(known), {
      audience: issuer, requiredClaims: ['sub', 'exp'], algorithms: ['ES256'],
    });
    return payload;
  } catch {
    throw new errors.InvalidRequest('the subject token is not acceptable');
  }
}

// trusted: issuer to JWK Set.
export function tokenExchange(trusted, resourceServer) {
  return async (ctx) => {
    const { client, params, provider } = ctx.oidc;
    if (!params.subject_token) throw new errors.InvalidRequest('missing required parameter(s): subject_token');
    if (![`${TYPE}jwt`, `${TYPE}id_token`].includes(params.subject_token_type)) {
      throw new errors.InvalidRequest('unsupported subject_token_type');
    }
    if (![undefined, `${TYPE}access_token`].includes(params.requested_token_type)) {
      throw new errors.InvalidRequest('unsupported requested_token_type');
    }
    if (params.actor_token || params.audience) throw new errors.InvalidRequest('no actor, and a resource instead of an audience');
    const { exp, sub } = await subjectOf(params.subject_token, trusted, provider.issuer);
    if (!params.resource) throw new errors.InvalidTarget('a resource is needed');
    const server = new provider.ResourceServer(params.resource, resourceServer(ctx, params.resource));

    const asked = params.scope?.split(' ') ?? [];
    const scope = asked.filter((value) => server.scope.split(' ').includes(value)).join(' ');
    const grant = new provider.Grant({ accountId: sub, clientId: client.clientId });
    grant.addResourceScope(params.resource, scope);
    const left = exp - Math.floor(Date.now() / 1000);
    const token = new provider.AccessToken({
      accountId: sub, client, grantId: await grant.save(), gty: GRANT_TYPE, scope: scope || undefined,
      expiresIn: Math.min(left, server.accessTokenTTL),
    });
    token.resourceServer = server;
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: `${TYPE}access_token`,
      token_type: token.tokenType,
      expires_in: token.expiration,
      scope: token.scope,
    };
  };
}
