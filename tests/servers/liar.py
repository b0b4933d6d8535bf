"""The lying authorization server: oauth2-mock-server, which calls every token active, revokes nothing, and answers 200.

It takes any client. What it says beyond that is chosen at run time, by :meth:`Liar.telling` and :meth:`Liar.claiming`: a scope
that is left out, a lifetime longer than was asked, an issuer that is not its address, an endpoint elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.servers.authority import Authority
from tests.servers.authorization_server import AuthorizationServer, Client
from tests.servers.oidc_provider import script, talking
from tests.servers.process import Process

# Which answer: of discovery, of the token endpoint, of introspection, of revocation.
DISCOVERY, TOKEN = "beforeWellKnownOpenIdConfiguration", "beforeResponse"
INTROSPECTION, REVOCATION = "beforeIntrospect", "beforeRevoke"


class Liar(AuthorizationServer):
    """The server; ``client`` is one of the many that it takes."""

    def __init__(self, process: Process, issuer: str, authority: Authority) -> None:
        super().__init__(issuer, authority, process.seconds, process.log)
        self.process = process
        self.client = Client("anyone", "client_secret_basic", "anything")

    @contextmanager
    def telling(self, answer: str, *, status: int | None = None, **members: object) -> Iterator[None]:
        """Alter an answer while the block lasts.

        Args:
            answer: ``DISCOVERY``, ``TOKEN``, ``INTROSPECTION`` or ``REVOCATION``.
            members: Set in its body; one that is None is left out.
        """
        self.process.order("alter", [answer, {"body": members} | ({} if status is None else {"status": status})])
        try:
            yield
        finally:
            self.process.order("alter", [answer, None])

    @contextmanager
    def claiming(self, **claims: object) -> Iterator[None]:
        """Set claims of the JWTs that it issues while the block lasts."""
        self.process.order("claim", claims)
        try:
            yield
        finally:
            self.process.order("claim", {})


@contextmanager
def running(folder: Path, authority: Authority) -> Iterator[Liar]:
    """Run one in this folder."""
    process = script("liar", folder)
    configuration = {"certificate": str(authority.good.chain), "key": str(authority.good.key)}
    with talking(process, configuration) as issuer:
        server = Liar(process, issuer, authority)
        with closing(server.http):
            yield server
