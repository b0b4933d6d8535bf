"""A change at a service that fails on its way: done, not done, or not known and told so; never asked twice, and a rerun works."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.at_openbao import AtOpenBao
from tests.conftest import Result
from tests.inprocess import InProcess
from tests.remote import AtServer
from tests.scene import Afterwards, Once, Scene, issue, staged
from tests.servers import faults
from tests.servers.authority import Authority
from tests.servers.breaker import HANG, LOSE, REFUSE, Fate
from tests.servers.oidc_provider import OidcProvider
from tests.servers.openbao import OpenBao
from tests.stub import answer

NOT_KNOWN = "whether a token was issued is not known"


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[InProcess]:
    umask = os.umask(0o077)  # as the program does
    yield InProcess(tmp_path / "home")
    os.umask(umask)


@pytest.fixture(params=["oauth2", "openbao"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scene(
    kind: str, cli: InProcess, oidc_provider: OidcProvider, openbao: OpenBao, authority: Authority
) -> Iterator[Scene]:  # fmt: skip
    with staged(kind, cli, oidc_provider, openbao, authority) as scene:
        yield scene


GRANT = faults.document({"access_token": "x" * 40, "token_type": "Bearer", "expires_in": 600, "auth": {"client_token": "x" * 40}})
# What the request for a token meets: exit code, whether the outcome is known, what is told, and how often it is asked.
ISSUING: dict[str, tuple[Fate, int, bool, str]] = {
    "reset": (REFUSE, 7, False, "the connection"),
    "answer lost": (LOSE, 7, False, "the connection"),
    "answer never comes": (HANG, 7, False, "did not answer in time"),
    "silence": (faults.silent, 7, False, "did not answer in time"),
    "500": (answer(b"", status="500 x"), 7, False, "answered 500"),
    "502": (answer(b"<html>", status="502 x"), 7, False, "answered 502"),
    "plain 503": (answer(b"", status="503 x"), 7, False, "answered 503"),
    "503 with a time": (faults.try_later("120", "503 x"), 7, True, "answered 503"),
    "429": (faults.try_later("120"), 7, True, "answered 429"),
    "cut": (faults.cut(GRANT), 8, False, "sent an answer that cannot be read"),
    "html": (faults.GARBAGE["html"], 8, False, "broke its contract: "),
    "not utf-8": (faults.GARBAGE["not utf-8"], 8, False, "broke its contract: "),
    "deep": (faults.GARBAGE["deep"], 8, False, "broke its contract: "),
    "names twice": (faults.GARBAGE["names twice"], 8, False, "broke its contract: "),
    "bomb": (faults.bomb(1 << 25), 8, False, "sent more than 8192 KiB"),
    "redirect": (faults.redirect("https://127.0.0.1:1/"), 8, True, "redirects are not followed"),
    "refused": (answer(b'{"error": "invalid_client", "errors": ["permission denied"]}', status="403 x"), 4, True, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", ISSUING)
def test_a_token_that_was_asked_for_is_not_asked_for_twice(what: str, scene: Scene, kind: str) -> None:
    fate, code, known, told = ISSUING[what]
    if (kind, what) == ("openbao", "redirect"):
        code, told = 7, "is not the active node and does not reach it"
    path = scene.paths.issue
    scene.meet = {path: fate}
    failed = issue(scene, "--request-id", "r")
    assert (failed.code, failed.out) == (code, ""), failed
    assert told in failed.err
    assert (NOT_KNOWN in failed.err) is not known
    assert ("audit reconcile" in failed.err) is not known
    assert scene.passed(path) <= 1
    assert scene.breaker is not None
    assert sum(1 for request in scene.breaker.asked if request.path.endswith(path)) == 1
    assert scene.outcomes("issue") == ["failed" if known else "unknown"]
    scene.check()
    scene.meet = {}
    again = issue(scene, "--request-id", "r")
    assert again.code == 0, again
    scene.secrets.append(again.out.strip())
    assert scene.outcomes("issue")[-1] == "done"
    scene.check()
    assert issue(scene, "--request-id", "r").code == 6


def reconcile(scene: Scene) -> Result:
    """Reconcile once no command can be at it any more."""
    later = time.time_ns() // 1_000_000 + 6 * 60_000
    return scene.at.cli(
        "audit", "reconcile", "-p", scene.at.name, "--credential-file", str(scene.at.credential), "-o", "json", now=later
    )


def living(scene: Scene, openbao: OpenBao, named: str) -> set[str]:
    """Return the accessors of the tokens that the server itself holds of a request."""
    found = set()
    for accessor in openbao.sudo("LIST", "auth/token/accessors")["data"]["keys"]:
        assert isinstance(scene.at, AtOpenBao)
        told = scene.at.lookup(accessor)
        if told is not None and (told["meta"] or {}).get("request_id") == named:
            found.add(accessor)
    return found


@pytest.mark.parametrize("kind", ["openbao"])
def test_asking_again_settles_the_token_that_was_lost_and_reconciling_leaves_the_new_one(
    scene: Scene, openbao: OpenBao
) -> None:
    name = f"r-{time.time_ns()}"
    scene.meet = {"auth/token/create": LOSE}
    assert issue(scene, "--request-id", name).code == 7
    (lost,) = living(scene, openbao, name)
    scene.meet = {}
    again = issue(scene, "--request-id", name, "-o", "json")
    assert again.code == 0
    assert lost != again.json["id"]
    assert living(scene, openbao, name) == {again.json["id"]}
    done = reconcile(scene)
    assert done.code == 0, done
    assert living(scene, openbao, name) == {again.json["id"]}
    assert scene.at("inspect", str(again.json["id"]), "-q").code == 0
    scene.check()


ESCAPING = faults.document({"active": "\x1b[2J\u202e", "data": {"accessor": "\x1b[2J"}})
FORBIDDEN = answer(b'{"error": "invalid_client", "errors": ["permission denied"]}', status="403 x")
# What the requests to revoke, or to ask for the state, meet: exit code, outcome, and whether the server revoked it.
REVOKING: dict[str, tuple[str, Fate | Once | Afterwards, int, str, bool]] = {
    "answer lost once": ("revoke", Once(LOSE), 0, "revoked", True),
    "never arrives once": ("revoke", Once(REFUSE), 0, "revoked", True),
    "500 once": ("revoke", Once(answer(b"", status="500 x")), 0, "revoked", True),
    "answer lost": ("revoke", LOSE, 0, "revoked", True),
    "answer never comes": ("revoke", HANG, 0, "revoked", True),
    "never arrives": ("revoke", REFUSE, 11, "still_active", False),
    "500": ("revoke", answer(b"", status="500 x"), 11, "still_active", False),
    "cut": ("revoke", faults.cut(GRANT), 11, "still_active", False),
    "html": ("revoke", faults.GARBAGE["html"], 11, "still_active", False),
    "429": ("revoke", faults.try_later("120"), 7, "unreachable", False),
    "redirect": ("revoke", faults.redirect("https://127.0.0.1:1/"), 11, "unreachable", False),
    "forbidden": ("revoke", FORBIDDEN, 4, "", False),
    "state: never arrives": ("ask", REFUSE, 7, "unreachable", False),
    "state: silence": ("ask", faults.silent, 7, "unreachable", False),
    "state: html": ("ask", faults.GARBAGE["html"], 11, "unverified", True),
    "state: escape sequences": ("ask", ESCAPING, 11, "", True),
    "state: gone afterwards": ("ask", Afterwards(REFUSE), 11, "unverified", True),
}  # fmt: skip


@pytest.mark.parametrize("what", REVOKING)
def test_what_became_of_a_revocation_is_found_out_or_told(
    what: str, scene: Scene, kind: str, oidc_provider: OidcProvider
) -> None:
    step, fate, code, outcome, gone = REVOKING[what]
    if (kind, what) == ("openbao", "forbidden"):
        code = 11  # as its capabilities say, this operator may; what was meant is not known
    if (kind, what) == ("openbao", "redirect"):
        code = 7  # a node that does not reach the active one: safe to run again
    issued = issue(scene, "-o", "json")
    assert issued.code == 0, issued
    identifier, text = str(issued.json["id"]), str(issued.json["token"])
    scene.secrets.append(text)
    given = ("-", text) if kind == "oauth2" else (identifier, None)
    command = ("revoke", given[0], "--reason", "test", "--yes", "-o", "json")
    scene.meet = {getattr(scene.paths, step): fate}
    first = scene(*command, input=given[1])
    assert first.code == code, first
    (target,) = first.json["targets"]
    assert outcome in ("", target["outcome"]), first
    assert is_active(scene, text, oidc_provider) is not gone
    scene.check()
    scene.meet = {}
    again = scene(*command, input=given[1])
    assert again.code == 0, again
    assert again.json["targets"][0]["outcome"] == ("already_revoked" if gone else "revoked")
    assert not is_active(scene, text, oidc_provider)
    scene.check()


def is_active(scene: Scene, text: str, oidc_provider: OidcProvider) -> bool:
    """Ask the server itself."""
    if isinstance(scene.at, AtServer):
        return oidc_provider.is_active(oidc_provider.client, text)
    node = scene.at.server.node
    return node.call(scene.at.server.root_token, "POST", "auth/token/lookup", token=text).status_code == 200
