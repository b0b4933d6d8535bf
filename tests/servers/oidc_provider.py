"""oidc-provider: a certified authorization server, on Node.js; ``node/oidc-provider.mjs`` is its half there.

It tells the truth. Where it can be asked for something that a caller must notice, a resource indicator does it:

======================  ========  =========  ============================================
resource                format    lifetime   scope
======================  ========  =========  ============================================
none                    opaque    600 s      those of ``SCOPES``; another is left out silently
``OPAQUE``              opaque    600 s      ``SCOPES``
``JWT``                 jwt       600 s      ``SCOPES``
``NARROW``              opaque    600 s      ``a:read`` alone; another is left out silently
``LONG``                opaque    30 days    ``SCOPES``
``LONG_JWT``            jwt       30 days    ``SCOPES``
another                 error ``invalid_target``
======================  ========  =========  ============================================
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import missing
from tests.servers import packages
from tests.servers.authority import Authority
from tests.servers.authorization_server import AuthorizationServer, Client, Registrar, new_key, public, signed
from tests.servers.process import Process

SCOPES = ("a:read", "a:write", "b:read")
OPAQUE, JWT, NARROW, LONG, LONG_JWT = (f"https://api.example/{name}" for name in ("opaque", "jwt", "narrow", "long", "long-jwt"))
TTL = 600  # seconds
ODD_CLIENT = Client("odd:client/1", secret="a+b%20c:d&e=f/g h~" + "x" * 32)
LONG_TTL = 30 * 86_400
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class CiService:
    """A continuous integration service that gives each of its jobs an identity: what ``issue --exchange -`` is handed.

    Attributes:
        issuer: Whom the tokens are of; nobody answers there.
        jwks: Its public keys.
    """

    issuer = "https://ci.example"

    def __init__(self) -> None:
        self._key = new_key()
        self.jwks = {"keys": [public(self._key)]}

    def identity(self, audience: str, subject: str = "repo:acme/app:ref:refs/heads/main", **claims: object) -> str:
        """Return the JWT of a job."""
        now = int(time.time())
        own = {"iss": self.issuer, "sub": subject, "aud": audience, "iat": now, "exp": now + 300, "jti": str(uuid.uuid4())}
        return signed(self._key, {**own, **claims})


class OidcProvider(AuthorizationServer):
    """The server; ``client`` and ``other_client`` may introspect everything, each revokes its own tokens alone.

    Attributes:
        odd_client: One whose id and secret show who forgets to encode them for ``client_secret_basic``.
        initial_access_token: What dynamic registration wants as a bearer token.
        ci: The service whose tokens it exchanges.
    """

    def __init__(self, process: Process, issuer: str, authority: Authority, initial: str, ci: CiService) -> None:
        super().__init__(issuer, authority, process.seconds, process.log)
        self.process = process
        self.initial_access_token = initial
        self.ci = ci
        self.registrar = Registrar(self, initial)
        self.register = self.registrar.register
        self.client = self.register()
        self.other_client = self.register()
        self.odd_client = ODD_CLIENT

    def rotate_key(self) -> str:
        """Sign by a new key from now on; return its kid. Those before it stay published until :meth:`forget_keys`."""
        return str(self.process.order("rotate"))

    def forget_keys(self) -> None:
        """Publish nothing but the key that signs."""
        self.process.order("forget")

    def exchange(self, client: Client, subject_token: str, **parameters: str) -> dict[str, Any]:
        """Exchange a job's identity for an access token; return the whole answer."""
        form = {"grant_type": EXCHANGE, "subject_token": subject_token, "subject_token_type": JWT_TYPE, **parameters}
        answer = self.post("token", client, **form)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def _resources() -> dict[str, dict[str, object]]:
    every = " ".join(SCOPES)
    return {
        OPAQUE: {"format": "opaque", "ttl": TTL, "scope": every},
        JWT: {"format": "jwt", "ttl": TTL, "scope": every},
        NARROW: {"format": "opaque", "ttl": TTL, "scope": "a:read"},
        LONG: {"format": "opaque", "ttl": LONG_TTL, "scope": every},
        LONG_JWT: {"format": "jwt", "ttl": LONG_TTL, "scope": every},
    }


@contextmanager
def running(
    folder: Path, authority: Authority, *, ttl: int = TTL, resources: Mapping[str, object] | None = None,
    replaces_secret: bool = False, keeps_registration_token: bool = False,
) -> Iterator[OidcProvider]:
    """Run one in this folder.

    Args:
        ttl: Lifetime in seconds of a token without a resource.
        resources: Added to those of the table: URI to ``format``, ``ttl`` and ``scope``.
        replaces_secret: Whether the update of a client is answered with a fresh secret (RFC 7592 section 2.2).
        keeps_registration_token: Whether the registration access token outlives an update.
    """
    process, initial, ci = script("oidc-provider", folder), secrets.token_urlsafe(), CiService()
    configuration = {
        "certificate": str(authority.good.chain), "key": str(authority.good.key), "ttl": ttl, "scopes": SCOPES,
        "clients": [{"client_id": ODD_CLIENT.id, "client_secret": ODD_CLIENT.secret}],
        "resources": {**_resources(), **(resources or {})}, "initial_access_token": initial, "trusted": {ci.issuer: ci.jwks},
        "replaces_secret": replaces_secret, "keeps_registration_token": keeps_registration_token,
    }  # fmt: skip
    with talking(process, configuration) as issuer:
        server = OidcProvider(process, issuer, authority, initial, ci)
        with closing(server.http):
            yield server


def script(name: str, folder: Path) -> Process:
    """Return a script of ``node/``, not started, beside the packages that it imports."""
    node, modules = packages.node(), packages.modules()
    if node is None:
        missing("Node.js (the extra servers)")
    if not modules.exists():
        missing(f"{name} ({packages.INSTALL})")
    folder.mkdir(parents=True)
    for file in packages.NODE.glob("*.mjs"):
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(modules)
    return Process(name, [str(node), f"{name}.mjs", "configuration.json"], folder, talks=True)


@contextmanager
def talking(process: Process, configuration: Mapping[str, object]) -> Iterator[str]:
    """Run a script with its configuration; yield the issuer that it says when it listens."""
    (process.folder / "configuration.json").write_text(json.dumps(configuration))
    begun = time.monotonic()
    process.start()
    try:
        issuer = str(process.hear())
        process.seconds = time.monotonic() - begun
        yield issuer
    finally:
        process.stop()
