// A server that calls every token active, revokes nothing and says 200: oauth2-mock-server, addressed by its own issuer URL.
import { OAuth2Server } from 'oauth2-mock-server';

import { configuration, obey } from './control.mjs';

const server = new OAuth2Server(configuration.key, configuration.certificate);
await server.issuer.keys.generate('ES256');
await server.start(0, '127.0.0.1');
const issuer = `https://127.0.0.1:${server.address().port}`;
server.issuer.url = issuer;

// What the tests set over what it would answer: event name to { status, body members }; a member that is null is left out.
const altered = {};
const NAMES = ['beforeWellKnownOpenIdConfiguration', 'beforeResponse', 'beforeIntrospect', 'beforeRevoke'];
for (const name of NAMES) {
  server.service.on(name, (response) => {
    const { status, body } = altered[name] ?? {};
    if (status !== undefined) response.statusCode = status;
    for (const [member, value] of Object.entries(body ?? {})) {
      if (value === null) delete response.body[member];
      else response.body[member] = value;
    }
  });
}
// The claims of the tokens that it signs.
let claims = {};
server.service.on('beforeTokenSigning', (token) => Object.assign(token.payload, claims));

obey(issuer, {
  alter: ([name, answer]) => {
    altered[name] = answer ?? {};
  },
  claim: (given) => {
    claims = given;
  },
});
