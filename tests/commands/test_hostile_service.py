"""Strings from a service: what is no token, no time and no name is refused; nothing that came is shown raw, or at its length."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.inprocess import InProcess
from tests.remote import AtServer
from tests.scene import Scene, issue, staged
from tests.servers import faults
from tests.servers.authority import Authority
from tests.servers.authorization_server import Client
from tests.servers.oidc_provider import OidcProvider
from tests.servers.openbao import OpenBao
from tests.stub import serving

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202egnp\u2066\u0085\u009b31m\r\n\tx\x7f"
LONG = "y" * (1 << 20)
NO_TOKEN: tuple[object, ...] = ("", "a b", "a\nb", "\x1b[31m", "\xe9", "x" * 65_537, 5, None, ["x"], {"a": "b"}, True)
NO_TIME: tuple[object, ...] = (-1, 0, 1e300, 10**12, "soon", "9" * 50, True, [], {}, "-5", HOSTILE)
NO_NAME: tuple[object, ...] = ("../../sys/seal", "a/b", HOSTILE, "", 5, None, "x" * 300, ["x"])


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[InProcess]:
    umask = os.umask(0o077)  # as the program does
    yield InProcess(tmp_path / "home")
    os.umask(umask)


@pytest.fixture
def at_oauth2(cli: InProcess, oidc_provider: OidcProvider, openbao: OpenBao, authority: Authority) -> Iterator[Scene]:
    with staged("oauth2", cli, oidc_provider, openbao, authority) as scene:
        yield scene


@pytest.fixture
def at_openbao(cli: InProcess, oidc_provider: OidcProvider, openbao: OpenBao, authority: Authority) -> Iterator[Scene]:
    with staged("openbao", cli, oidc_provider, openbao, authority) as scene:
        yield scene


def check_shown(done: Result, *, code: int | None = None) -> None:
    """Nothing that came is shown raw, nor at any length."""
    assert code is None or done.code == code, done
    assert done.code != 1, done
    for text in (done.out, done.err):
        assert all(character.isprintable() or character in "\n\t" for character in text), ascii(text)
        assert len(text) < 8_000
    assert "yyyyyyyyyyyyyyyyyyyy" * 20 not in done.err


def token(**members: object) -> bytes:
    good = {"access_token": "x" * 40, "token_type": "Bearer", "expires_in": 600}
    return faults.document({**good, **members})


def test_what_is_no_token_and_no_time_is_refused(at_oauth2: Scene) -> None:
    wrong: list[dict[str, object]] = [{"access_token": value} for value in NO_TOKEN]
    wrong += [{"expires_in": value} for value in NO_TIME]
    wrong += [{"token_type": value} for value in ("mac", HOSTILE, LONG, None, 5)]
    for members in wrong:
        at_oauth2.meet = {at_oauth2.paths.issue: token(**members)}
        done = issue(at_oauth2)
        check_shown(done, code=8)
        assert done.out == ""
        assert "broke its contract" in done.err, (members, done)
    listed = at_oauth2("list", "--state", "all")
    assert (listed.code, listed.out) == (0, "")
    check_shown(at_oauth2.at.cli("audit", "log", "-p", "prod", "--limit", "5"))
    at_oauth2.check()


@pytest.mark.parametrize("scope", [HOSTILE, "a:read " + HOSTILE, LONG, 5, ["a:read"], {"a": 1}, None])
def test_a_scope_that_is_none_grants_nothing_unseen(at_oauth2: Scene, scope: object) -> None:
    at_oauth2.meet = {at_oauth2.paths.issue: token(scope=scope)}
    done = issue(at_oauth2, "--scope", "a:read")
    check_shown(done)
    assert (done.code, done.out) == (12 if scope is None else 8, "")
    check_shown(at_oauth2("list", "--state", "all"))
    check_shown(at_oauth2.at.cli("audit", "log", "-p", "prod"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418])
def test_the_words_of_a_refusal_are_shown_plainly_or_not(at_oauth2: Scene, status: int) -> None:
    bodies = (
        {"error": HOSTILE, "error_description": HOSTILE}, {"error": "invalid_scope", "error_description": LONG},
        {"error": LONG}, {"error": ["a"]}, {"error": 5}, {"error": "a" * 79 + "\u202e"}, [HOSTILE],
    )  # fmt: skip
    for body in bodies:
        at_oauth2.meet = {at_oauth2.paths.issue: faults.document(body, status=f"{status} {'x' * 3000}")}
        done = issue(at_oauth2)
        check_shown(done)
        assert done.code in (2, 4, 8, 12), done
        assert len(done.err) < 400


ANSWERS: dict[str, dict[str, object]] = {
    "texts": dict.fromkeys(("sub", "username", "client_id", "iss", "jti", "token_type", "scope", "aud"), HOSTILE),
    "long": dict.fromkeys(("sub", "username", "jti", "scope", "token_type"), "y" * 3000),
    "times": dict.fromkeys(("exp", "iat", "nbf"), 1e300),
    "negative times": dict.fromkeys(("exp", "iat", "nbf"), -1e17),
    "times are texts": dict.fromkeys(("exp", "iat", "nbf"), HOSTILE),
    "numbers": dict.fromkeys(("sub", "username", "client_id", "iss", "jti", "token_type", "scope", "aud", "cnf"), 5),
    "names": {"__class__": HOSTILE, HOSTILE: HOSTILE, "active ": False},
}  # fmt: skip


@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("output", ["text", "json", "jsonl", "introspection"])
def test_what_a_service_says_of_a_token_is_shown_escaped(at_oauth2: Scene, what: str, output: str) -> None:
    issued = issue(at_oauth2, "--scope", "a:read")
    assert issued.code == 0, issued
    at_oauth2.secrets.append(issued.out.strip())
    at_oauth2.meet = {at_oauth2.paths.ask: faults.document({"active": True, **ANSWERS[what]})}
    done = at_oauth2("inspect", "-", "-o", output, input=issued.out)
    assert done.code in (0, 3), done
    check_shown(Result(done.code, done.out[:7_000], done.err))
    if output != "text":
        assert done.out.isascii()
        for line in done.out.splitlines():
            json.loads(line)


def test_what_openbao_grants_is_a_token_with_a_name_and_a_time_or_nothing(at_openbao: Scene) -> None:
    good = {"client_token": "s." + "x" * 24, "accessor": "a" * 24, "lease_duration": 600, "token_policies": ["default"]}
    wrong: list[dict[str, object]] = [{"client_token": value} for value in NO_TOKEN]
    wrong += [{"accessor": value} for value in NO_NAME]
    wrong += [{"lease_duration": value} for value in NO_TIME if value is True or value != 0]
    wrong += [{"token_policies": value} for value in ([HOSTILE], [LONG], HOSTILE, [5], ["a b"], {"a": "b"})]
    for members in wrong:
        at_openbao.meet = {at_openbao.paths.issue: faults.document({"auth": {**good, **members}})}
        done = issue(at_openbao)
        check_shown(done)
        assert (done.out, done.code in (8, 12)) == ("", True), (members, done)
    for body in ({}, {"auth": None}, {"auth": [good]}, {"auth": HOSTILE}, {"auth": {}}):
        at_openbao.meet = {at_openbao.paths.issue: faults.document(body)}
        check_shown(issue(at_openbao), code=8)
    for texts in ([HOSTILE], [LONG], HOSTILE, [5], [HOSTILE] * 1000):
        at_openbao.meet = {at_openbao.paths.issue: faults.document({"errors": texts}, status=f"400 {HOSTILE[:3]}")}
        done = issue(at_openbao)
        check_shown(done)
        assert len(done.err) < 800
        at_openbao.meet = {at_openbao.paths.issue: faults.document({"auth": good, "warnings": texts})}
        done = issue(at_openbao, "-o", "json")
        check_shown(done)
        at_openbao.meet = {}
        at_openbao.at.cli("audit", "log", "-p", at_openbao.at.name)
    at_openbao.check()


LOOKUPS: dict[str, dict[str, object]] = {
    "texts": {
        "display_name": HOSTILE, "entity_id": HOSTILE, "path": HOSTILE, "policies": [HOSTILE, 5], "type": HOSTILE,
        "meta": {"subject": HOSTILE, "owner": HOSTILE, HOSTILE: HOSTILE, "n": 5},
    },
    "long": {"display_name": "y" * 3000, "meta": {"subject": "y" * 3000}},
    "times": {"expire_time": HOSTILE, "creation_time": HOSTILE, "ttl": HOSTILE, "issue_time": 5},
    "far times": {"expire_time": "9999-12-31T23:59:59.999999999Z", "creation_time": 10**15, "ttl": 10**15},
    "bad times": {"expire_time": "2026-13-45T99:99:99Z", "creation_time": -5, "ttl": -5},
    "shapes": {"meta": [HOSTILE], "policies": HOSTILE, "accessor": 5, "num_uses": HOSTILE, "orphan": HOSTILE},
    "another accessor": {"accessor": "../../sys/seal"},
}  # fmt: skip


@pytest.mark.parametrize("what", LOOKUPS)
@pytest.mark.parametrize("output", ["text", "json", "introspection"])
def test_what_openbao_says_of_a_token_is_shown_escaped(at_openbao: Scene, what: str, output: str) -> None:
    issued = issue(at_openbao, "-o", "json")
    assert issued.code == 0, issued
    identifier = str(issued.json["id"])
    good = {"accessor": identifier, "policies": ["default"], "creation_time": int(time.time()), "meta": {}, "num_uses": 0}
    at_openbao.meet = {at_openbao.paths.ask: faults.document({"data": {**good, **LOOKUPS[what]}})}
    done = at_openbao("inspect", identifier, "-o", output)
    assert done.code in (0, 3, 8), done
    check_shown(Result(done.code, done.out[:7_000], done.err))
    assert output == "text" or done.out.isascii()
    revoked = at_openbao("revoke", identifier, "--yes", "-o", "json", "--reason", "test")
    assert revoked.code in (8, 11), revoked
    check_shown(Result(revoked.code, revoked.out[:7_000], revoked.err))


def test_a_service_that_grants_the_same_again_spoils_nothing(at_oauth2: Scene) -> None:
    granting = at_oauth2.paths.issue
    at_oauth2.meet = {granting: token(access_token="r" * 40, expires_in=86_400)}
    refused = issue(at_oauth2)  # it lives too long
    assert (refused.code, refused.out) == (12, ""), refused
    at_oauth2.check()
    at_oauth2.meet = {granting: token(access_token="r" * 40)}
    done = issue(at_oauth2, "-o", "json")
    assert done.code == 0, done
    at_oauth2.check()
    for lifetime in (600, 86_400):
        at_oauth2.meet = {granting: token(access_token="r" * 40, expires_in=lifetime)}
        again = issue(at_oauth2)
        assert (again.code, again.out) == (8, ""), again
        assert f"grants a token that it granted before: {done.json['id']}\n" in again.err
    at_oauth2.check()
    assert at_oauth2("list").out.count("\n") == 1


def test_a_service_that_names_two_tokens_alike_spoils_nothing(at_openbao: Scene) -> None:
    good = {"client_token": "s." + "x" * 24, "accessor": "a" * 24, "lease_duration": 600, "token_policies": ["default"]}
    assert at_openbao("revoke", "a" * 24, "--yes", "--reason", "test").code == 5
    for number in range(3):
        granted = {**good, "client_token": f"s.{number}" + "x" * 24}
        at_openbao.meet = {at_openbao.paths.issue: faults.document({"auth": granted})}
        assert issue(at_openbao).code == 0
        at_openbao.check()
    assert at_openbao("list").out.count("\n") == 3


def test_metadata_leads_nowhere_that_was_not_confirmed(cli: InProcess, authority: Authority) -> None:
    secret = "f" * 40
    with serving(faults.document({"keys": []})) as other:
        for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint", "jwks_uri", "registration_endpoint"):
            for url in (other.url("/x"), "https://as.example/x", "http://as.example/x", "file:///etc/passwd", HOSTILE, 5, [],
                        LONG, "https://u:p@127.0.0.1/", "javascript:alert(1)", "//as.example/"):  # fmt: skip
                answers: dict[str, object] = {}
                with serving(answers) as stub:  # filled below, once the port is known
                    issuer = stub.url("")
                    metadata = {"issuer": issuer, "token_endpoint": stub.url("/token"), name: url}
                    answers["/.well-known/oauth-authorization-server"] = faults.document(metadata)
                    at = AtServer(cli, _Server(issuer, authority), Client("ops", "client_secret_post", secret))
                    done = at("issue", "--timeout", "2s")
                    check_shown(done, code=8)
                    assert secret not in done.out + done.err
                    assert not any(secret.encode() in request.head + request.body for request in stub.requests)
                    assert {request.path for request in stub.requests} <= {"/.well-known/oauth-authorization-server"}
        assert other.heads == []


class _Server:
    """What a profile needs to know of a server."""

    def __init__(self, issuer: str, authority: Authority) -> None:
        self.issuer = issuer
        self.ca_file = authority.file
