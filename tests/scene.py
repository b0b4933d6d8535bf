"""The program at a real service, with something between the two that breaks, lies or keeps silent on order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.at_openbao import AtOpenBao
from tests.conftest import Result
from tests.inprocess import InProcess
from tests.remote import AtServer, write_profile
from tests.servers.authority import Authority
from tests.servers.breaker import PASS, Breaker, Fate, breaking
from tests.servers.oidc_provider import OidcProvider
from tests.servers.openbao import OpenBao
from tests.stub import Request


class Paths(NamedTuple):
    """Where a service is asked for what."""

    issue: str
    ask: str
    revoke: str


PATHS = {
    "oauth2": Paths("/token", "/token/introspection", "/token/revocation"),
    "openbao": Paths("auth/token/create", "auth/token/lookup-accessor", "auth/token/revoke-accessor"),
}


class Once(NamedTuple):
    """One request meets a fate, and those after it pass."""

    fate: Fate


class Afterwards(NamedTuple):
    """The requests meet a fate once the server was asked to revoke."""

    fate: Fate


class Made(NamedTuple):
    """Each request meets what is made of it."""

    of: Callable[[Request], bytes]


class Scene:
    """The program at a real server, and what stands between the two.

    Attributes:
        at: Runs a verb.
        meet: What the requests to a path meet, by the path's last words; the others pass.
    """

    def __init__(self, at: AtServer | AtOpenBao, paths: Paths, home: Path, secrets: list[str]) -> None:
        self.at = at
        self.paths = paths
        self.home = home
        self.secrets = secrets
        self.meet: dict[str, Fate | Once | Afterwards | Made] = {}
        self.breaker: Breaker | None = None

    def choose(self, request: Request, _number: int) -> Fate:
        end, fate = next(((end, fate) for end, fate in self.meet.items() if request.path.endswith(end)), ("", PASS))
        if isinstance(fate, Made):
            return fate.of(request)
        if isinstance(fate, Once):
            self.meet[end] = PASS
            return fate.fate
        if isinstance(fate, Afterwards):
            return fate.fate if self.passed(self.paths.revoke) else PASS
        return fate

    def passed(self, end: str) -> int:
        """Count what the server did of the requests to a path."""
        assert self.breaker is not None
        return sum(1 for request in self.breaker.passed if request.path.endswith(end))

    def __call__(self, *arguments: str, input: str | None = None) -> Result:
        done = self.at(*arguments, "--timeout", "1s", input=input)
        told = [line for line in done.err.splitlines() if not line.startswith(("notice: ", "warning: "))]
        assert len(told) <= 2 or arguments[0] == "revoke", done.err
        assert "a bug" not in done.err
        for secret in self.secrets:
            assert secret not in done.err
            assert secret not in done.out or (arguments[0] == "issue" and done.code == 0)
        return done

    def check(self) -> None:
        """The log is whole, and nothing that was asked for or answered lies in a file of ours."""
        verified = self.at.cli("audit", "verify", "-p", self.at.name, "-q")
        assert (verified.code, verified.out, verified.err) == (0, "", "")
        for file in self.home.rglob("*"):
            if file.is_file() and file != self.at.credential:
                data = file.read_bytes()
                assert not any(secret.encode() in data for secret in self.secrets), file

    def outcomes(self, what: str) -> list[object]:
        return [outcome for operation, reason, outcome in self.at.records() if (operation, reason) == ("remote.outcome", what)]


@contextmanager
def staged(
    kind: str, cli: InProcess, oidc_provider: OidcProvider, openbao: OpenBao, authority: Authority
) -> Iterator[Scene]:  # fmt: skip
    if kind == "oauth2":
        client = oidc_provider.register("client_secret_post")
        at: AtServer | AtOpenBao = AtServer(cli, oidc_provider, client)
        scene = Scene(at, PATHS[kind], cli.home, [client.secret])
        with breaking(oidc_provider.issuer, authority, scene.choose) as scene.breaker:
            ends = {
                f"endpoints.{name}": oidc_provider.metadata[f"{name}_endpoint"].replace(oidc_provider.issuer, scene.breaker.url)
                for name in ("token", "introspection", "revocation")
            }
            write_profile(cli.home, at.name, oidc_provider.issuer, oidc_provider.ca_file, client, **ends)
            yield scene
    else:
        secret = str(openbao.token(policies=["root"])["client_token"])
        scene = Scene(None, PATHS[kind], cli.home, [secret])  # the next line but one
        with breaking(openbao.address, authority, scene.choose) as scene.breaker:
            scene.at = AtOpenBao(cli, openbao, address=scene.breaker.url)
            scene.at.hand_in(secret)
            yield scene


def issue(scene: Scene, *options: str) -> Result:
    subject = () if isinstance(scene.at, AtServer) else ("--subject", "someone")
    return scene("issue", *subject, "--ttl", "10m", *options)
