"""The real token services that tests run against, each a process on loopback, and the faults that no real one has on request.

Getting them: ``pip install '.[test,servers]'``, and for the two on Node.js ``python -m tests.servers``: npm, into the user's
cache. What is missing skips its tests with the reason; with ``CI`` set it fails them.

Fixtures (``fixtures.py``). They are of the session but where it says otherwise: each xdist worker has its own, on free ports,
started when it is first asked for.

=======================  ===============================================================================================
``authority``            the certificate authority: ``file`` (PEM) is what a profile names, ``client()`` an SSL context
                         that trusts it, ``good`` a server's certificate, ``expired()`` and its siblings bad ones
``oidc_provider``        certified authorization server; opaque tokens and JWTs by resource indicator (the table in its
                         module), every client authentication, registration, token exchange
``other_oidc_provider``  a second one: two issuers at once
``django_toolkit``       another authorization server, with other manners
``liar``                 calls every token active, revokes nothing, answers 200; alters what it says on order
``openbao``              a server in memory, unsealed; ``other_openbao``: a second one
``openbao_in_files``     of one test, by Raft: to be sealed, stopped, killed, started again
``openbao_cluster``      of one test: three nodes by Raft, each with a vote; ``leader().process.kill()``
=======================  ===============================================================================================

An authorization server (``authorization_server.py``) has ``issuer``, ``ca_file``, ``metadata``, ``log``, and two clients,
``client`` and ``other_client``, with ``id``, ``secret``, ``method``. A test that changes or counts something makes a client of
its own: ``oidc_provider.register("private_key_jwt")``, whose private JWK is ``key``. ``issue introspect is_active revoke
exchange post jwks`` ask as a plain client does: an oracle beside the program. ``oidc_provider.ci.identity(audience)`` is the
JWT of a CI job, for token exchange. ``rotate_key()`` and ``forget_keys()`` change what signs: in an instance of the test's own.

OpenBao has ``address ca_file root_token unseal_key nodes``, and ``token(**request)``, ``policy(name, **paths)``,
``app_role(name, *policies)``, ``audit_hash(value)``, ``seal()``, ``unseal()``, ``sudo(method, path, **body)``; a node has
``call(token, method, path, **body)``, ``health()``, ``start()`` and ``process``: ``kill() pause() resume() stop()``.

An instance of a test's own, with settings of its own, and so from every module:
``with oidc_provider.running(tmp_path / "x", authority, ttl=1) as server:``.

Faults: ``tests.stub.serving`` sends what ``faults.py`` has, plainly or under any certificate of ``authority``; ``breaker.py``
stands in front of a real server and loses, delays or replaces chosen answers; ``pause()`` makes a server that accepts and is
silent.

Lies that they tell, each with its test:

- Revocation answers 200 or 204 for what it did not revoke: django-oauth-toolkit for the token of another client, oidc-provider
  to a public client, OpenBao for what it does not know.
- An OpenBao standby that lags does not know a new token: it answers its revocation with 204 and its lookup with 403, and the
  token lives. Two headers help whoever issued it: ``X-Vault-Index`` of that answer, with ``X-Vault-Inconsistent:
  forward-active-node``.
- A revocation that a crash cut off leaves a token that OpenBao shows by its accessor and by its text, with ``num_uses`` -1, and
  accepts no more; its revocation is then a 400.
- A scope is left out silently (oidc-provider); a policy is added, a lifetime cut, a policy that does not exist granted (OpenBao).
- A JWT can be neither introspected nor revoked (oidc-provider), nor a batch token revoked (OpenBao).
- 403 is both "unknown token" and "not allowed", 429 does not say when to come again, and a standby without its leader redirects
  to another origin (OpenBao). Introspection without a valid client is an empty page with 403 (django-oauth-toolkit).
"""
