"""``revoke``, ``inspect`` and ``audit`` at authorization servers: what they say is told, and nothing that they did not prove."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Cli
from tests.remote import AtServer, write_credential, write_profile
from tests.servers import oidc_provider as provider_module
from tests.servers.breaker import HANG, LOSE, PASS, Fate, breaking, to
from tests.servers.django_toolkit import DjangoToolkit
from tests.servers.liar import INTROSPECTION, Liar
from tests.servers.oidc_provider import JWT, OPAQUE, OidcProvider


@pytest.fixture
def prod(cli: Cli, oidc_provider: OidcProvider) -> AtServer:
    return AtServer(cli, oidc_provider, oidc_provider.client)


@pytest.fixture
def dot(cli: Cli, django_toolkit: DjangoToolkit) -> AtServer:
    return AtServer(cli, django_toolkit, django_toolkit.client)


def override(at: AtServer, **endpoints: str) -> None:
    """Let endpoints of the profile lie elsewhere."""
    write_profile(at.cli.home, at.name, at.server.issuer, at.server.ca_file, at.client)
    path = at.cli.home / f".config/tokenctl/profiles/{at.name}.toml"
    lines = [f"{name} = {json.dumps(url)}" for name, url in endpoints.items()]
    path.write_text(path.read_text() + "\n".join(["[service.endpoints]", *lines, ""]))


def moved(at: AtServer, endpoint: str, url: str) -> str:
    return str(at.server.metadata[f"{endpoint}_endpoint"]).replace(at.server.issuer, url)


# Inspect


@pytest.mark.parametrize("name", ["prod", "dot"])
def test_an_opaque_token_is_what_the_service_says(name: str, request: pytest.FixtureRequest) -> None:
    at = request.getfixturevalue(name)
    identifier, token = at.issued("--scope", "a:read")
    done = at("inspect", "-", "-o", "json", input=token)
    assert (done.code, done.err) == (0, "")
    assert (done.json["id"], done.json["active"], done.json["scope"]) == (identifier, True, ["a:read"])
    assert [(check["name"], check["ok"]) for check in done.json["checks"]] == [("form", True), ("introspection", True)]
    assert at("inspect", "-", "--scope", "a:write", "-q", input=token).code == 3
    assert at("inspect", "-", "--valid-for", "1h", "-q", input=token).code == 3
    assert at("inspect", "-", "--valid-for", "5m", "-q", input=token).code == 0


@pytest.mark.parametrize("name", ["prod", "dot"])
def test_the_members_of_rfc_7662_are_printed_as_the_service_says_them(name: str, request: pytest.FixtureRequest) -> None:
    at = request.getfixturevalue(name)
    _, token = at.issued("--scope", "a:read")
    done = at("inspect", "-", "-o", "introspection", input=token)
    assert (done.code, done.json) == (0, at.server.introspect(at.client, token))
    at.server.revoke(at.client, token)
    done = at("inspect", "-", "-o", "introspection", input=token)
    assert (done.code, done.out, done.err) == (3, '{"active": false}\n', "")


def test_a_token_that_was_revoked_elsewhere_is_not_active(prod: AtServer) -> None:
    _, token = prod.issued("--scope", "a:read")
    prod.server.revoke(prod.client, token)
    done = prod("inspect", "-", "-o", "json", input=token)
    assert (done.code, done.json["state"], done.json["active"]) == (3, "revoked", False)


def test_a_jwt_that_the_service_does_not_answer_for_is_verified_by_its_keys(prod: AtServer) -> None:
    identifier, token = prod.issued("--audience", JWT, "--scope", "a:read")
    done = prod("inspect", "-", "--audience", JWT, "-o", "json", input=token)
    assert (done.code, done.json["id"], done.json["signature"]) == (0, identifier, "valid")
    checks = {check["name"]: check["ok"] for check in done.json["checks"]}
    assert (checks["signature"], checks["introspection"]) == (True, None)
    told = prod("inspect", "-", "--audience", JWT, "-o", "introspection", input=token).json
    assert told == {**done.json["claims"], "active": True}
    forged = f"{token.rpartition('.')[0]}.{token.rpartition('.')[2][4:84]}AAAA{token[-2:]}"
    done = prod("inspect", "-", "--audience", JWT, "-o", "json", input=forged)
    assert (done.code, done.json["signature"], done.json["state"]) == (3, "invalid", "not_active")


def test_where_service_and_keys_disagree_both_are_shown(cli: Cli, liar: Liar) -> None:
    at = AtServer(cli, liar, liar.client)
    _, token = at.issued("--scope", "a:read", "--ttl", "1h")
    with liar.telling(INTROSPECTION, active=False):
        done = at("inspect", "-", input=token)
    assert done.code == 3
    assert re.search(
        r"finding     disagreement: verifiers that do not ask the service may accept it until [0-9TZ:-]+\n", done.out
    )
    assert "signature ok" in done.out
    assert "introspection FAILED (the service does not accept it)" in done.out
    with liar.telling(INTROSPECTION, scope="a:write", sub="somebody", exp=1):
        done = at("inspect", "-", "-o", "json", input=token)
    assert done.json["findings"][-1] == {
        "rule": "disagreement", "detail": "the service says otherwise than the token itself: exp, scope",
    }  # fmt: skip


def test_an_id_proves_nothing_where_only_the_token_is_asked_about(prod: AtServer) -> None:
    identifier, _ = prod.issued()
    done = prod("inspect", identifier)
    assert (done.code, done.out.splitlines()[0]) == (
        11, "not checked: the service is asked by the token itself alone: pipe it in",
    )  # fmt: skip
    assert prod("inspect", "0352Ldy4SKzRSvwVvSWvL6").code == 5


def test_a_token_of_another_client_is_sent_only_where_that_is_asked(prod: AtServer, oidc_provider: OidcProvider) -> None:
    token = oidc_provider.issue(oidc_provider.other_client, "a:read")["access_token"]
    prod.issued()
    done = prod("inspect", "-", "-o", "json", input=token)
    assert (done.code, done.json["active"], done.json["state"]) == (11, None, "not_checked")
    done = prod("inspect", "-", "--ask", "prod", "-o", "json", input=token)
    assert (done.code, done.json["active"], done.json["subject"]) == (0, True, oidc_provider.other_client.id)
    assert (done.json["owner"], done.json["delivered_at"]) == ("-", None)


def test_what_a_service_does_not_say_is_not_made_up(cli: Cli, django_toolkit: DjangoToolkit) -> None:
    at = AtServer(cli, django_toolkit, django_toolkit.client)
    token = django_toolkit.issue(django_toolkit.other_client)["access_token"]
    done = at("inspect", "-", "--ask", "prod", "-o", "json", input=token)
    assert (done.json["active"], done.json["issued_at"]) == (True, None)
    assert f"issued    - by {django_toolkit.issuer}\n" in at("inspect", "-", "--ask", "prod", input=token).out


def test_who_may_not_introspect_is_refused_though_the_page_is_empty(cli: Cli, django_toolkit: DjangoToolkit) -> None:
    wrong = AtServer(cli, django_toolkit, django_toolkit.client._replace(secret="wrong"))
    done = wrong("inspect", "-", "--ask", "prod", input="x" * 30)
    assert (done.code, done.out) == (4, "")
    assert done.err.endswith(
        f"tokenctl: {django_toolkit.issuer} refuses the client\nhint: python -m tokenctl -p prod login\n"
    )


def test_offline_nobody_is_asked(cli: Cli, authority: object, tmp_path: Path) -> None:
    with provider_module.running(tmp_path / "own", authority) as server:
        at = AtServer(cli, server, server.client)
        _, opaque = at.issued()
        _, token = at.issued("--audience", JWT)
        arguments = ("inspect", "-", "--offline", "--audience", JWT, "-o", "json")
        server.process.pause()
        try:
            unknown = at(*arguments, "--timeout", "2s", input=token)  # no keys were fetched yet
            assert (unknown.code, unknown.json["signature"]) == (11, "not_checked")
            assert at("inspect", "-", "--offline", "-q", input=opaque).code == 11
        finally:
            server.process.resume()
        assert at("inspect", "-", "--audience", JWT, "-q", input=token).code == 0
        server.process.pause()
        try:
            done = at(*arguments, "--timeout", "2s", input=token)
            # Without a credential too, and when the metadata is no longer fresh.
            later = time.time_ns() // 1_000_000 + 620_000
            late = cli.at(later, "inspect", "-", "-p", "prod", "--offline", "--audience", JWT, "--timeout", "2s", input=token)
        finally:
            server.process.resume()
        assert (done.code, done.json["signature"], done.json["state"]) == (11, "valid", "not_checked")
        assert (late.code, late.out.splitlines()[0]) == (11, "not checked: form, signature and time only")


def test_a_service_that_is_away_is_7_and_one_among_others_11(cli: Cli, authority: object, tmp_path: Path) -> None:
    with provider_module.running(tmp_path / "own", authority) as server:
        at = AtServer(cli, server, server.client)
        tokens = [at.issued()[1] for _ in range(2)]
        server.process.stop()
        done = at("inspect", "-", "--timeout", "1s", input="\n".join(tokens))
        assert (done.code, done.out) == (7, "")
        assert f"tokenctl: {server.issuer} was not reached: no connection\n" in done.err
        done = at("revoke", "-", "--yes", "--timeout", "1s", input="\n".join(tokens))
        assert done.code == 7
        assert [line.split("\t")[1] for line in done.out.splitlines()] == ["unreachable", "unreachable"]


def test_an_unknown_key_is_asked_for_at_most_once_a_minute(cli: Cli, authority: object, tmp_path: Path) -> None:
    with provider_module.running(tmp_path / "own", authority) as server:
        at = AtServer(cli, server, server.client)
        with breaking(server.issuer, authority, lambda *_: PASS) as breaker:
            override(at, jwks=server.metadata["jwks_uri"].replace(server.issuer, breaker.url))
            _, old = at.issued("--audience", JWT)
            now = time.time_ns() // 1_000_000
            arguments = ("inspect", "-p", at.name, "--credential-file", str(at.credential), "--audience", JWT, "-q", "-")
            assert [cli.at(now, *arguments, input=old).code for _ in range(3)] == [0, 0, 0]
            assert len(breaker.asked) == 1
            server.rotate_key()
            _, new = at.issued("--audience", JWT)
            assert [cli.at(now + later, *arguments, input=new).code for later in (59_000, 61_000, 62_000)] == [3, 0, 0]
            assert len(breaker.asked) == 2
            made_up = f"{encoded({**header_of(new), 'kid': 'made-up'})}.{new.partition('.')[2]}"
            codes = [cli.at(now + later, *arguments, input=made_up).code for later in (70_000, 125_000, 126_000, 180_000)]
            assert codes == [3] * 4
            assert len(breaker.asked) == 3
    kept = json.loads((cli.home / ".cache/tokenctl/prod/jwks").read_text())
    assert set(kept) == {"url", "fetched_at", "fresh_until", "body", "asked_at"}


def header_of(token: str) -> dict[str, object]:
    part = token.partition(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def encoded(members: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


def test_keys_that_do_not_come_are_no_verdict_and_not_asked_for_again_at_once(
    cli: Cli, authority: object, tmp_path: Path
) -> None:
    with provider_module.running(tmp_path / "own", authority) as server:
        at = AtServer(cli, server, server.client)
        fates: list[Fate] = [PASS]
        with breaking(server.issuer, authority, lambda *_: fates[0]) as breaker:
            override(at, jwks=server.metadata["jwks_uri"].replace(server.issuer, breaker.url))
            token = server.issue(server.other_client, resource=JWT)["access_token"]
            now = time.time_ns() // 1_000_000
            arguments = ("inspect", "-p", at.name, "--credential-file", str(at.credential), "--audience", JWT, "-")
            assert cli.at(now, *arguments, input=token).code == 0  # its signature alone ties it to the service
            server.rotate_key()
            new = server.issue(server.other_client, resource=JWT)["access_token"]
            fates[0] = b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n"
            first, second = (cli.at(now + later, *arguments, input=new) for later in (61_000, 62_000))
            assert (first.code, second.code) == (8, 7)
            assert "was asked for an unknown key less than a minute ago" in second.err
            assert len(breaker.asked) == 2
            fates[0] = PASS
            assert cli.at(now + 125_000, *arguments, input=new).code == 0


# Revoke


@pytest.mark.parametrize("name", ["prod", "dot"])
def test_a_revocation_is_asked_about_and_the_time_is_measured(name: str, request: pytest.FixtureRequest) -> None:
    at = request.getfixturevalue(name)
    identifier, token = at.issued("--scope", "a:read")
    done = at("revoke", "-", "--yes", "--reason", "test", "--wait", "3s", input=f"leaked: {token}, sorry")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(rf"{identifier}\trevoked\twas active; denied, checked after [0-9]+ ms\n", done.out)
    assert not at.server.is_active(at.client, token)
    again = at("revoke", "-", "--yes", "-o", "json", input=token)
    assert again.code == 0
    (target,) = again.json["targets"]
    assert (target["outcome"], target["reason"]) == ("already_revoked", "test")
    assert [outcome for operation, _, outcome in at.records() if operation == "remote.outcome"] == [
        "done", "revoked", "already_revoked",
    ]  # fmt: skip


def test_nothing_is_revoked_without_the_question(prod: AtServer) -> None:
    _, token = prod.issued()
    done = prod("revoke", "-", input=token)
    assert (done.code, done.out) == (2, "")
    assert prod("revoke", "-", "--yes", "--expect", "2", input=token).code == 6
    assert prod("revoke", "-", "--yes", "--expect", "1", input=token).code == 0


@pytest.mark.parametrize("extra", [(), ("--yes",), ("--dry-run", "--out", "plan.json")])
def test_an_id_is_not_enough_and_that_is_said_before_anything_else(prod: AtServer, extra: tuple[str, ...]) -> None:
    identifier, _ = prod.issued()
    before = prod.records()
    done = prod("revoke", identifier, *extra)
    assert (done.code, done.out) == (9, "")
    assert done.err == (
        f"tokenctl: profile prod (oauth2 at {prod.server.issuer}) revokes by the token itself alone: nothing was started\n"
        "hint: pipe the token itself: python -m tokenctl -p prod revoke - < FILE\n"
    )
    assert prod.records() == before


def test_a_jwt_that_cannot_be_revoked_is_told_with_its_end(prod: AtServer) -> None:
    identifier, token = prod.issued("--audience", JWT)
    (row,) = prod("list", "-o", "jsonl").lines
    done = prod("revoke", "-", "--yes", "-o", "json", input=token)
    assert done.code == 11
    (target,) = done.json["targets"]
    assert (target["id"], target["outcome"], target["offline_until"]) == (identifier, "unverified", row["expires_at"])
    assert target["detail"] == "the service cannot revoke a token of this kind"
    done = prod("revoke", "-", "--yes", input=token)
    assert f"verifiers that do not ask may accept it until {row['expires_at']}\n" in done.out
    review = prod("audit", "review", "--rule", "revocation-unfinished", "-o", "jsonl")
    assert [(line["id"], line["mend"]) for line in review.lines] == [(identifier, "python -m tokenctl -p prod revoke -")]


def test_a_token_of_the_issuer_without_a_row_is_revoked_by_its_signature(cli: Cli, oidc_provider: OidcProvider) -> None:
    prod = AtServer(cli, oidc_provider, oidc_provider.client)
    token = oidc_provider.issue(oidc_provider.client, "a:read", resource=JWT)["access_token"]
    done = prod("revoke", "-", "--yes", "-o", "json", input=f"{token}\n{token[:-8]}AAAAAAAA\n")
    assert done.code == 11  # this server revokes no JWT
    assert [target["outcome"] for target in done.json["targets"]] == ["unverified"]
    assert done.json["foreign"] == {"jwt": 1}


@pytest.mark.parametrize("name", ["oidc_provider", "django_toolkit"])
def test_the_wrong_client_is_told_the_truth_though_the_server_says_200(
    cli: Cli, name: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(name)
    token = server.issue(server.other_client)["access_token"]
    at = AtServer(cli, server, server.client)
    assert at("revoke", "-", "--yes", input=token).code == 5  # it is nobody's here, and goes nowhere
    done = at("revoke", "-", "--yes", "--ask", "prod", input=token)
    assert done.code == 11
    assert done.out.split("\t")[1] == "still_active"
    assert server.is_active(server.other_client, token)


def test_a_liar_is_found_out(cli: Cli, liar: Liar) -> None:
    at = AtServer(cli, liar, liar.client)
    identifier, token = at.issued("--scope", "a:read", "--ttl", "1h")
    begun = time.monotonic()
    done = at("revoke", "-", "--wait", "3s", "--yes", input=token)
    assert time.monotonic() - begun > 2
    assert (done.code, done.out.split("\t")[:2]) == (11, [identifier, "still_active"])
    assert at("list", "-o", "jsonl").lines[0]["state"] == "active"
    assert at.records()[-1] == ("remote.outcome", "revoke", "still_active")


def test_a_denial_that_comes_late_is_waited_for(cli: Cli, liar: Liar, authority: object) -> None:
    at = AtServer(cli, liar, liar.client)
    _, token = at.issued("--scope", "a:read", "--ttl", "1h")
    denied = b'{"active": false}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(denied), denied)
    with breaking(liar.issuer, authority, lambda _, number: answer if number >= 4 else PASS) as breaker:
        override(at, introspection=moved(at, "introspection", breaker.url))
        done = at("revoke", "-", "--wait", "10s", "--yes", "-o", "json", input=token)
    assert done.code == 0
    assert len(breaker.asked) == 5
    (target,) = done.json["targets"]
    assert (target["outcome"], target["state_before"]) == ("revoked", "active")
    assert target["offline_until"] is not None


def test_an_answer_that_is_lost_is_verified_all_the_same(prod: AtServer, authority: object) -> None:
    _, token = prod.issued()
    with breaking(prod.server.issuer, authority, lambda _, number: LOSE if number < 9 else PASS) as breaker:
        override(prod, revocation=moved(prod, "revocation", breaker.url))
        done = prod("revoke", "-", "--yes", "--timeout", "3s", input=token)
    assert (done.code, done.out.split("\t")[1]) == (0, "revoked")


def test_who_may_revoke_and_not_ask_revokes_and_says_that_it_is_not_verified(prod: AtServer, authority: object) -> None:
    _, token = prod.issued()
    forbidden = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    with breaking(prod.server.issuer, authority, lambda *_: forbidden) as breaker:
        override(prod, introspection=moved(prod, "introspection", breaker.url))
        done = prod("revoke", "-", "--yes", input=token)
    assert (done.code, done.out.split("\t")[1]) == (11, "unverified")
    assert not prod.server.is_active(prod.client, token)


def test_all_refused_for_the_operator_is_4(cli: Cli, django_toolkit: DjangoToolkit) -> None:
    at = AtServer(cli, django_toolkit, django_toolkit.client)
    tokens = [at.issued()[1] for _ in range(2)]
    write_credential(cli.home, "prod", django_toolkit.client._replace(secret="wrong"))
    done = at("revoke", "-", "--yes", input="\n".join(tokens))
    assert done.code == 4
    assert [line.split("\t")[1] for line in done.out.splitlines()] == ["unreachable", "unreachable"]


def test_a_preview_tells_and_sends_nothing(prod: AtServer, oidc_provider: OidcProvider) -> None:
    identifier, token = prod.issued()
    jwt = oidc_provider.issue(oidc_provider.other_client, resource=JWT)["access_token"]
    before = prod.records()
    done = prod("revoke", "-", "--dry-run", input=f"{token}\n{jwt}\n")
    assert done.code == 0
    lines = [line.split("\t") for line in done.out.splitlines()]
    assert lines[0][:2] == [identifier, "would be revoked"]
    assert lines[1][1:] == ["would be revoked", "not issued through this profile"]
    assert (prod.records(), prod.server.is_active(prod.client, token)) == (before, True)


def test_many_are_revoked_together(dot: AtServer) -> None:
    made = dot("issue", "--count", "40", "--scope", "a:read")
    assert made.code == 0, made.err
    text = "\n".join(str(line["token"]) for line in made.lines)
    done = dot("revoke", "-", "--yes", "-o", "json", input=text)
    assert (done.code, done.json["counts"]) == (0, {"revoked": 40})
    assert dot.cli("audit", "verify", "-p", "prod", "-q").code == 0


# The log


def test_what_was_done_is_in_the_log_and_is_found_by_the_token(prod: AtServer) -> None:
    identifier, token = prod.issued("--scope", "a:read")
    prod("revoke", "-", "--yes", "--ticket", "INC-1", input=token)
    done = prod.cli("audit", "log", "-p", "prod", "--token", "-", "-o", "jsonl", input=token)
    assert [line["operation"] for line in done.lines] == [
        "token.issue", "remote.outcome", "remote.intent", "token.revoke", "remote.outcome",
    ]  # fmt: skip
    shown = prod.cli("audit", "show", identifier, "-p", "prod", "-o", "json")
    assert shown.code == 0, shown.err
    assert prod.cli("audit", "verify", "-p", "prod", "--full", "-q").code == 0
    actor = done.lines[0]["actor"]
    assert isinstance(actor, dict)
    assert actor["remote_subject"] == prod.client.id


def test_a_kill_between_intent_and_outcome_is_found_and_settled(prod: AtServer, authority: object) -> None:
    prod.issued()
    with breaking(prod.server.issuer, authority, to("/token", HANG)) as breaker:
        override(prod, token=moved(prod, "token", breaker.url))
        process = subprocess.Popen(
            [*PROGRAM, "issue", "-p", "prod", "--credential-file", str(prod.credential), "--scope", "a:read"],
            env=prod.cli.env, cwd=prod.cli.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        until = time.monotonic() + 20
        while not breaker.passed and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert prod.records()[-1] == ("remote.intent", "issue", "pending")
    now = time.time_ns() // 1_000_000
    minute = 60_000

    def later(passed: int, *arguments: str) -> tuple[int, str]:
        done = prod.cli.at(now + passed, *arguments, "-p", "prod", "--credential-file", str(prod.credential))
        return done.code, done.out

    assert "a command may be at it until" in later(minute, "audit", "reconcile")[1]
    code, out = later(6 * minute, "audit", "review", "--rule", "intent-orphaned")
    assert (code, out.count("\n")) == (3, 1)
    code, out = later(6 * minute, "audit", "reconcile")
    assert code == 11
    assert "if a token was issued, nobody here has it" in out
    code, _ = later(25 * 60 * minute, "audit", "reconcile")
    assert code == 0
    assert later(25 * 60 * minute, "audit", "reconcile") == (0, "")
    assert later(25 * 60 * minute, "audit", "verify", "-q")[0] == 0


def test_a_lost_revocation_is_told_by_the_review_until_the_token_is_piped_in_again(prod: AtServer, authority: object) -> None:
    identifier, token = prod.issued("--audience", OPAQUE)
    failing = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    with breaking(prod.server.issuer, authority, lambda *_: failing) as breaker:
        override(prod, revocation=moved(prod, "revocation", breaker.url))
        done = prod("revoke", "-", "--yes", "--timeout", "2s", input=token)
    assert (done.code, done.out.split("\t")[1]) == (11, "still_active")
    assert prod("audit", "review", "--rule", "revocation-unfinished").out.split("\t")[2] == identifier
    override(prod)
    assert prod("revoke", "-", "--yes", input=token).code == 0
    assert prod("audit", "review", "--rule", "revocation-unfinished").out == ""
