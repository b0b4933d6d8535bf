"""``issue`` at authorization servers: what is granted is compared with what was asked for; what may not stay is given back."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.remote import AtServer, write_profile
from tests.servers import oidc_provider as provider_module
from tests.servers.authorization_server import Client
from tests.servers.breaker import HANG, LOSE, PASS, REFUSE, Fate, breaking
from tests.servers.django_toolkit import DjangoToolkit
from tests.servers.liar import DISCOVERY, INTROSPECTION, TOKEN, Liar
from tests.servers.oidc_provider import EXCHANGE, JWT, LONG, LONG_JWT, NARROW, OPAQUE, OidcProvider
from tests.stub import Request
from tokenctl.commands.issue_request import Wish, parameters_of

INTENDED = ("remote.intent", "issue", "pending")


@pytest.fixture
def prod(cli: Cli, oidc_provider: OidcProvider) -> AtServer:
    return AtServer(cli, oidc_provider, oidc_provider.client)


def test_a_token_is_printed_alone_and_what_it_is_stands_in_its_row(prod: AtServer, oidc_provider: OidcProvider) -> None:
    prod.issued()  # makes the store
    done = prod("issue", "--scope", "a:read", "--scope", "a:write", "--owner", "ops", "--label", "team=x", "--note", "why")
    assert (done.code, done.err) == (0, "")
    told = oidc_provider.introspect(prod.client, done.out.strip())
    assert (told["active"], told["scope"], told["client_id"]) == (True, "a:read a:write", prod.client.id)
    (row,) = prod("list", "--owner", "ops", "-o", "jsonl").lines
    assert (row["scope"], row["labels"], row["note"], row["issuer"], row["subject"], row["format"]) == (
        ["a:read", "a:write"], {"team": "x"}, "why", oidc_provider.issuer, prod.client.id, "opaque",
    )  # fmt: skip
    assert row["delivered_at"] is not None
    assert re.fullmatch(r"[0-9A-Za-z]{22}", str(row["id"]))


def test_a_resource_indicator_binds_it_and_a_jwt_keeps_its_own_id(prod: AtServer, oidc_provider: OidcProvider) -> None:
    done = prod("issue", "--audience", JWT, "--scope", "a:read", "-o", "json")
    assert (done.json["format"], done.json["audience"]) == ("jwt", [JWT])
    claims = prod("inspect", "-", "--audience", JWT, "-o", "json", input=str(done.json["token"])).json["claims"]
    assert isinstance(claims, dict)
    assert (claims["jti"], claims["aud"]) == (done.json["id"], JWT)


def test_the_default_audience_of_the_profile_is_the_resource(cli: Cli, oidc_provider: OidcProvider) -> None:
    prod = AtServer(cli, oidc_provider, oidc_provider.client)
    path = cli.home / ".config/tokenctl/profiles/prod.toml"
    path.write_text(f'default_audience = "{OPAQUE}"\n' + path.read_text())
    _, token = prod.issued("--scope", "a:read")
    assert oidc_provider.introspect(prod.client, token)["aud"] == OPAQUE


@pytest.mark.parametrize("asked", [("a:read", "nonsense"), ("nonsense",)])
def test_less_scope_is_told_and_given_back_off_a_terminal(prod: AtServer, asked: tuple[str, ...]) -> None:
    scopes = [word for scope in asked for word in ("--scope", scope)]
    done = prod("issue", *scopes)
    assert (done.code, done.out) == (12, "")
    assert done.err.splitlines()[-2:] == [
        "tokenctl: the service grants less than was asked for: nonsense is missing; it was revoked",
        "hint: take what there is: --accept-less",
    ]
    assert prod.records()[1:] == [INTENDED, ("remote.outcome", "issue", "denied")]
    assert prod("list", "--state", "all").out == ""


def test_less_scope_is_taken_where_that_is_said_and_told_nevertheless(prod: AtServer) -> None:
    prod.issued()
    done = prod("issue", "--scope", "a:read", "--scope", "a:write", "--audience", NARROW, "--accept-less", "-q")
    assert (done.code, done.err) == (0, "notice: the service granted less scope than was asked for: a:write is missing\n")
    done = prod("issue", "--scope", "a:read", "--scope", "nonsense", "--accept-less", "-o", "json")
    assert done.json["scope"] == ["a:read"]
    assert done.json["warnings"] == ["the service granted less scope than was asked for: nonsense is missing"]


def test_an_absent_scope_is_looked_up_and_not_taken_for_the_one_that_was_asked_for(cli: Cli, liar: Liar) -> None:
    at = AtServer(cli, liar, liar.client)
    with liar.telling(TOKEN, scope=None):
        assert at("issue", "--scope", "a:read", "-o", "json").json["scope"] == ["a:read"]  # its claims say so
        with liar.claiming(scope=None):
            assert at("issue", "--scope", "a:read").code == 12
            with liar.telling(INTROSPECTION, scope="a:read"):
                assert at("issue", "--scope", "a:read").code == 0


def test_a_shorter_lifetime_is_only_told(prod: AtServer) -> None:
    prod.issued()
    done = prod("issue", "--ttl", "15m", "-q")
    assert (done.code, done.err) == (0, "notice: the service granted 10m, and 15m was asked for\n")
    done = prod("issue", "--ttl", "10m")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--ttl", "5m"), "the service grants 10m, and 5m was asked for; it was revoked"),
        (
            ("--audience", LONG),
            "the policy forbids it: max-lifetime: a token of kind access lives at most 1d; it was revoked",
        ),
    ],
)
def test_a_longer_lifetime_is_given_back(prod: AtServer, arguments: tuple[str, ...], why: str) -> None:
    prod.issued()
    done = prod("issue", "--scope", "a:read", *arguments)
    assert (done.code, done.out, done.err.splitlines()[0]) == (12, "", f"tokenctl: {why}")


def test_what_cannot_be_given_back_is_told_with_its_end(prod: AtServer) -> None:
    prod.issued()
    done = prod("issue", "--audience", LONG_JWT)
    assert (done.code, done.out) == (12, "")
    assert re.search(
        r"; nobody has it, and it may still be accepted until [0-9TZ:-]+ \(the service cannot revoke a token of this kind\)$",
        done.err.splitlines()[0],
    )
    assert prod.records()[-1] == ("remote.outcome", "issue", "unverified")


def test_a_jwt_that_lives_longer_than_the_server_says_is_given_back(cli: Cli, liar: Liar) -> None:
    at = AtServer(cli, liar, liar.client)
    with liar.claiming(exp=int(time.time()) + 7200), liar.telling(TOKEN, expires_in=600):
        done = at("issue", "--scope", "a:read", "--ttl", "10m")
    assert (done.code, done.out) == (12, "")
    assert re.search("the service grants (1h 59m|2h).*, and 10m was asked for", done.err)


def test_a_scope_that_the_policy_does_not_admit_is_given_back(cli: Cli, liar: Liar) -> None:
    at = AtServer(cli, liar, liar.client)
    with liar.telling(TOKEN, scope="a:read admin"):
        done = at("issue", "--scope", "a:read")
        assert done.code == 12
        assert "the service grants more than was asked for: admin; nobody has it, and it may still be accepted" in done.err
    with liar.telling(TOKEN, scope="everything*"):
        assert "a scope with * is not allowed" in at("issue").err
    with liar.telling(TOKEN, scope="a:read"):
        done = at("issue", "-q")
        assert (done.code, done.err) == (0, "notice: the service granted a scope that was not asked for: a:read\n")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--format", "jwt", "--audience", "x"), "--format jwt"), (("--kind", "service", "--scope", "x"), "--kind"),
        (("--max-uses", "3"), "--max-uses"), (("--parent", "0352Ldy4SKzRSvwVvSWvL6"), "--parent"),
        (("--not-before", "+1h"), "--not-before"), (("--subject", "another"), "--subject"),
    ],
)  # fmt: skip
def test_what_no_such_server_grants_is_refused_before_anything_starts(
    prod: AtServer, arguments: tuple[str, ...], option: str
) -> None:
    done = prod("issue", *arguments)
    assert (done.code, done.out) == (9, "")
    assert done.err == (
        f"tokenctl: profile prod (oauth2 at {prod.server.issuer}) grants no {option}\nhint: leave it out\n"
    )
    assert not (prod.cli.home / ".local").exists()


@pytest.mark.parametrize(
    "verb",
    [("revoke", "0352Ldy4SKzRSvwVvSWvL6", "--suspend"), ("revoke", "0352Ldy4SKzRSvwVvSWvL6", "--lift"), ("rotate-keys",)],
)
def test_parts_that_no_such_server_has_are_named(prod: AtServer, verb: tuple[str, ...]) -> None:
    done = prod(*verb)
    assert (done.code, done.out) == (9, "")
    assert f"profile prod (oauth2 at {prod.server.issuer}) " in done.err


def test_two_audiences_are_one_too_many(prod: AtServer) -> None:
    done = prod("issue", "--audience", OPAQUE, "--audience", JWT)
    assert (done.code, done.out) == (9, "")
    assert "takes one --audience a token" in done.err
    assert not (prod.cli.home / ".local").exists()


def test_an_unknown_resource_is_the_refusal_of_the_server(prod: AtServer) -> None:
    prod.issued()
    done = prod("issue", "--audience", "https://unknown.example")
    assert (done.code, done.err) == (12, f"tokenctl: {prod.server.issuer} refuses what is asked for: invalid_target\n")
    assert prod.records()[-1] == ("remote.outcome", "issue", "failed")


def test_a_wrong_secret_is_refused_and_stands_in_the_log(cli: Cli, django_toolkit: DjangoToolkit) -> None:
    at = AtServer(cli, django_toolkit, django_toolkit.client._replace(secret="wrong"))
    done = at("issue", "--scope", "a:read")
    assert (done.code, done.out) == (4, "")
    assert f"tokenctl: {django_toolkit.issuer} refuses the client: invalid_client\n" in done.err
    assert at.records()[-1] == ("remote.outcome", "issue", "failed")


def test_without_a_credential_nothing_starts(cli: Cli, oidc_provider: OidcProvider) -> None:
    write_profile(cli.home, "prod", oidc_provider.issuer, oidc_provider.ca_file, oidc_provider.client)
    done = cli("issue", "-p", "prod")
    assert (done.code, done.out) == (4, "")
    assert not (cli.home / ".local").exists()


# Requests


def test_a_request_id_is_delivered_once(prod: AtServer) -> None:
    first = prod("issue", "--scope", "a:read", "--request-id", "r1", "-o", "json")
    assert first.code == 0
    again = prod("issue", "--scope", "a:read", "--request-id", "r1")
    assert (again.code, again.out) == (6, "")
    assert str(first.json["id"]) in again.err
    assert prod("issue", "--scope", "b:read", "--request-id", "r1").code == 6
    assert len(prod("list").out.splitlines()) == 1


def test_what_is_not_delivered_is_revoked(prod: AtServer, oidc_provider: OidcProvider) -> None:
    prod.issued()
    with Path("/dev/full").open("wb") as full:
        done = prod("issue", "--scope", "a:read", stdout=full, stderr=-1)
    assert done.code == 7
    assert "could not be delivered (no space left on device): it was revoked" in done.err.lower()
    (row,) = prod("list", "--state", "revoked", "-o", "jsonl").lines
    assert row["revoked"]["reason"] == "undelivered"  # a token object


def test_a_jwt_that_is_not_delivered_is_told_with_its_end(prod: AtServer) -> None:
    prod.issued()
    with Path("/dev/full").open("wb") as full:
        done = prod("issue", "--audience", JWT, stdout=full, stderr=-1)
    assert done.code == 7
    assert re.search(r"could not be delivered .*: it may be accepted until [0-9TZ:-]+\n", done.err)


def test_many_are_obtained_one_by_one_and_a_rerun_obtains_the_rest(prod: AtServer) -> None:
    rows = '{"scope": "a:read"}\n{"scope": "b:read", "owner": "ops"}\n{"scope": "a:read nonsense"}\n{}\n'
    done = prod("issue", "--from", "-", "--request-id", "batch", input=rows)
    assert done.code == 12
    assert [(line["line"], line["owner"] == "ops") for line in done.lines] == [(1, False), (2, True)]
    assert "2 issued and delivered, 2 not; request batch\n" in done.err
    again = prod("issue", "--from", "-", "--request-id", "batch", "--accept-less", input=rows)
    assert again.code == 0, again.err
    assert [line["line"] for line in again.lines] == [3, 4]
    assert len(prod("list", "--batch", "batch").out.splitlines()) == 4


def test_a_row_for_what_is_not_granted_stops_all_of_them(prod: AtServer) -> None:
    done = prod("issue", "--from", "-", input='{"scope": "a:read"}\n{"kind": "service", "scope": "x"}\n')
    assert (done.code, done.out) == (9, "")
    assert "tokenctl: line 2: profile prod" in done.err
    assert not (prod.cli.home / ".local").exists()


def test_many_that_are_not_delivered_are_revoked(prod: AtServer) -> None:
    prod.issued()
    with Path("/dev/full").open("wb") as full:
        done = prod("issue", "--count", "3", "--scope", "a:read", stdout=full, stderr=-1)
    assert done.code == 7
    assert "3 tokens could not be delivered" in done.err
    assert len(prod("list", "--state", "revoked").out.splitlines()) == 3


def test_a_command_gets_a_token_that_ends_with_it(prod: AtServer, oidc_provider: OidcProvider) -> None:
    prod.issued()
    kept = prod.cli.home / "kept"
    done = prod("issue", "--scope", "a:read", "--", "sh", "-c", f'printf %s "$TOKENCTL_TOKEN" > {kept}; echo done; exit 3')
    assert (done.code, done.out, done.err) == (3, "done\n", "")
    assert not oidc_provider.is_active(prod.client, kept.read_text())


def test_a_command_whose_token_cannot_be_revoked_succeeds_with_11(prod: AtServer) -> None:
    prod.issued()
    done = prod("issue", "--audience", JWT, "--", "true")
    assert done.code == 11
    assert re.search(
        r"was not revoked \(the service cannot revoke a token of this kind\): it may be accepted until [0-9TZ:-]+\n", done.err
    )


# Answers that are lost


def through(prod: AtServer, url: str) -> None:
    """Let the token endpoint of the profile be what stands in front of it."""
    write_profile(
        prod.cli.home, prod.name, prod.server.issuer, prod.server.ca_file, prod.client,
        endpoints={},
    )  # fmt: skip
    path = prod.cli.home / f".config/tokenctl/profiles/{prod.name}.toml"
    settled = path.read_text().replace("endpoints = {}\n", "")
    path.write_text(f'{settled}[service.endpoints]\ntoken = "{url}/token"\n')


@pytest.mark.parametrize(
    ("fate", "outcome"),
    [
        (LOSE, "unknown"), (HANG, "unknown"), (REFUSE, "unknown"),
        (b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n", "unknown"),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 900\r\nContent-Length: 0\r\n\r\n", "failed"),
        (b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\n\r\n", "failed"),
    ],
    ids=["lost", "silent", "reset", "away", "later", "busy"],
)  # fmt: skip
def test_an_answer_that_is_lost_is_an_unknown_outcome_and_never_a_second_token(
    prod: AtServer, authority: object, fate: Fate, outcome: str
) -> None:
    with breaking(prod.server.issuer, authority, lambda request, number: fate) as breaker:
        through(prod, breaker.url)
        done = prod("issue", "--scope", "a:read", "--timeout", "2s")
    assert (done.code, done.out) == (7, "")
    assert prod.records()[-1] == ("remote.outcome", "issue", outcome)
    assert ("whether a token was issued is not known" in done.err) == (outcome == "unknown")
    assert len(breaker.asked) == 1 or outcome == "failed"


def test_an_answer_that_grants_and_cannot_be_used_is_given_back_and_unknown(cli: Cli, liar: Liar) -> None:
    at = AtServer(cli, liar, liar.client)
    for members in ({"token_type": "DPoP"}, {"expires_in": "soon"}, {"access_token": "a b"}):
        with liar.telling(TOKEN, **members):
            done = at("issue", "--scope", "a:read")
        assert (done.code, done.out) == (8, "")
        assert "broke its contract" in done.err
        assert at.records()[-1] == ("remote.outcome", "issue", "unknown")
    with liar.telling(TOKEN, token_type="bearer", expires_in="600"):
        assert at("issue", "--scope", "a:read").code == 0


def test_a_lifetime_that_is_not_told_is_read_from_the_token_or_asked_for(
    cli: Cli, liar: Liar, django_toolkit: DjangoToolkit
) -> None:
    at = AtServer(cli, liar, liar.client)
    with liar.telling(TOKEN, expires_in=None):
        assert at("issue", "--scope", "a:read", "--ttl", "1h").code == 0
        with liar.claiming(exp=None):
            done = at("issue", "--scope", "a:read")
            assert done.code == 12
            assert "the service does not say when the token expires" in done.err


# Exchange


@pytest.fixture
def exchanging(cli: Cli, oidc_provider: OidcProvider) -> AtServer:
    return AtServer(cli, oidc_provider, oidc_provider.register(grant_types=["client_credentials", EXCHANGE]))


def test_the_identity_of_a_job_is_exchanged_and_kept_nowhere(exchanging: AtServer, oidc_provider: OidcProvider) -> None:
    identity = oidc_provider.ci.identity(oidc_provider.issuer)
    done = exchanging("issue", "--exchange", "-", "--audience", OPAQUE, "--scope", "a:read", "-o", "json", "-v", input=identity)
    assert done.code == 0, done.err
    told = oidc_provider.introspect(exchanging.client, str(done.json["token"]))
    assert (told["active"], told["sub"]) == (True, "repo:acme/app:ref:refs/heads/main")
    assert (done.json["subject"], done.json["scope"]) == (told["sub"], ["a:read"])
    signature = identity.rpartition(".")[2].encode()
    for path in exchanging.cli.home.rglob("*"):
        assert path.is_dir() or signature not in path.read_bytes(), path
    assert signature.decode() not in done.out + done.err


def test_an_exchanged_token_lives_as_long_as_a_command(exchanging: AtServer, oidc_provider: OidcProvider) -> None:
    identity = exchanging.cli.home / "identity"
    identity.write_text(oidc_provider.ci.identity(oidc_provider.issuer) + "\n")
    kept = exchanging.cli.home / "kept"
    command = ("--", "sh", "-c", f'printf %s "$TOKENCTL_TOKEN" > {kept}; cat')
    done = exchanging("issue", "--exchange", str(identity), "--audience", OPAQUE, *command, input="to the command")
    assert (done.code, done.out) == (0, "to the command")
    assert not oidc_provider.is_active(exchanging.client, kept.read_text())


def test_an_identity_comes_by_a_descriptor_too(exchanging: AtServer, oidc_provider: OidcProvider) -> None:
    reading, writing = os.pipe()
    os.write(writing, oidc_provider.ci.identity(oidc_provider.issuer).encode())
    os.close(writing)
    done = exchanging(
        "issue", "--exchange-fd", str(reading), "--audience", OPAQUE, "--scope", "a:read", pass_fds=(reading,)
    )
    os.close(reading)
    assert done.code == 0, done.err


def test_a_request_id_stands_for_an_exchange_or_for_none(exchanging: AtServer, oidc_provider: OidcProvider) -> None:
    arguments = ("issue", "--audience", OPAQUE, "--request-id", "r")
    identities = [oidc_provider.ci.identity(oidc_provider.issuer) for _ in range(2)]
    assert exchanging(*arguments, "--exchange", "-", input=identities[0]).code == 0
    again = exchanging(*arguments, "--exchange", "-", input=identities[1])
    assert (again.code, "was answered by" in again.err) == (6, True)
    other = exchanging(*arguments)
    assert (other.code, "was answered by" in other.err) == (6, False)
    assert b"exchange" not in parameters_of(Wish(subject="s"))  # what older stores remember stays what it was


def test_a_subject_that_is_named_is_the_only_one(exchanging: AtServer, oidc_provider: OidcProvider) -> None:
    def exchanged(subject: str) -> tuple[int, str]:
        identity = oidc_provider.ci.identity(oidc_provider.issuer, subject="repo:acme/app")
        done = exchanging("issue", "--exchange", "-", "--audience", OPAQUE, "--subject", subject, "-q", input=identity)
        return done.code, done.err.splitlines()[-1] if done.err else ""

    assert exchanged("repo:acme/other")[0] == 12
    assert exchanged("repo:acme/app") == (0, "")
    (row,) = exchanging("list", "-o", "jsonl").lines
    assert row["subject"] == "repo:acme/app"


def test_an_identity_that_is_not_taken_is_refused_and_never_shown(exchanging: AtServer, oidc_provider: OidcProvider) -> None:
    other = oidc_provider.ci.identity("https://elsewhere.example")
    late = oidc_provider.ci.identity(oidc_provider.issuer, exp=1)
    for identity, reason in ((other, "identity_refused"), (late, "identity_expired"), ("nonsense", "identity_malformed")):
        done = exchanging("issue", "--exchange", "-", "--audience", OPAQUE, "-o", "json", input=identity)
        assert (done.code, done.out) == (4, "")
        assert f'"reason": "{reason}"' in done.err
        assert identity not in done.err
    intents = [record for record in exchanging.records() if record[0] == "remote.intent"]
    assert len(intents) == 1  # what is no identity, or one of the past, is not even sent


@pytest.mark.parametrize(
    ("arguments", "presented", "told"),
    [
        (("--exchange", "-"), "", "standard input holds nothing"),
        (("--exchange", "-"), "a b", "standard input holds more than one word"),
        (("--exchange", "-", "--exchange-fd", "9"), "x", "--exchange and --exchange-fd exclude each other"),
        (("--exchange", "-", "--from", "-"), "x", "standard input is read once"),
        (("--exchange", "absent"), "", "cannot read absent"),
    ],
)
def test_what_can_be_no_identity_starts_nothing(
    exchanging: AtServer, arguments: tuple[str, ...], presented: str, told: str
) -> None:
    done = exchanging("issue", *arguments, input=presented)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert not (exchanging.cli.home / ".local").exists()


def test_an_identity_in_the_arguments_is_a_leak(exchanging: AtServer, oidc_provider: OidcProvider) -> None:
    identity = oidc_provider.ci.identity(oidc_provider.issuer)
    done = exchanging("issue", "--exchange", identity)
    assert (done.code, done.out) == (2, "")
    assert identity not in done.err


def test_who_exchanges_nothing_says_so(cli: Cli, django_toolkit: DjangoToolkit, oidc_provider: OidcProvider) -> None:
    identity = oidc_provider.ci.identity(django_toolkit.issuer)
    done = AtServer(cli, django_toolkit, django_toolkit.client)("issue", "--exchange", "-", input=identity)
    assert done.code == 9
    assert f"tokenctl: {django_toolkit.issuer} exchanges no tokens (RFC 8693)\n" in done.err
    done = cli("issue", "--subject", "x", "--exchange", "-", input=identity)
    assert done.code == 9
    assert "exchanges no tokens" in done.err


# How the client proves itself


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
def test_a_client_proves_itself_by_its_method(cli: Cli, oidc_provider: OidcProvider, method: str) -> None:
    at = AtServer(cli, oidc_provider, oidc_provider.register(method))
    _, token = at.issued("--scope", "a:read")
    done = at("revoke", "-", "--yes", input=token)
    assert (done.code, done.err) == (0, "")


def test_an_odd_id_and_secret_are_encoded_before_they_are_a_credential(cli: Cli, oidc_provider: OidcProvider) -> None:
    odd = oidc_provider.odd_client
    assert AtServer(cli, oidc_provider, odd)("issue", "--scope", "a:read").code == 0
    by_post = Client(odd.id, "client_secret_post", odd.secret)  # there the form itself encodes them
    assert AtServer(cli, oidc_provider, by_post)("issue", "--scope", "a:read").code == 0


def test_an_assertion_is_made_anew_for_each_try(cli: Cli, oidc_provider: OidcProvider, authority: object) -> None:
    at = AtServer(cli, oidc_provider, oidc_provider.register("private_key_jwt"))
    _, token = at.issued("--scope", "a:read")

    def choosing(request: Request, number: int) -> Fate:
        return LOSE if number == 0 else PASS

    with breaking(oidc_provider.issuer, authority, choosing) as breaker:
        path = cli.home / ".config/tokenctl/profiles/prod.toml"
        url = oidc_provider.metadata["introspection_endpoint"].replace(oidc_provider.issuer, breaker.url)
        path.write_text(path.read_text() + f'[service.endpoints]\nintrospection = "{url}"\n')
        done = at("inspect", "-", input=token)
    assert len(breaker.passed) == 2
    assert done.code == 0, done.err


# Discovery


def add(cli: Cli, issuer: str, ca_file: Path, *arguments: str) -> tuple[int, str]:
    done = cli(
        "profile", "add", "x", "--backend", "oauth2", "--issuer", issuer, "--client-id", "c", "--ca-file", str(ca_file),
        *arguments,
    )  # fmt: skip
    return done.code, "".join(line for line in done.err.splitlines(keepends=True) if not line.startswith("warning: "))


@pytest.mark.parametrize("name", ["oidc_provider", "django_toolkit", "liar"])
def test_a_profile_is_made_by_its_issuer_wherever_the_metadata_lies(
    cli: Cli, name: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(name)
    assert add(cli, server.issuer, server.ca_file) == (0, "")
    assert add(cli, server.issuer, server.ca_file) == (0, "")  # again: the same
    code, err = add(cli, f"{server.issuer}/", server.ca_file)
    assert code == 8
    assert "of another issuer" in err or "shows no metadata" in err


def test_metadata_of_another_issuer_is_refused(cli: Cli, liar: Liar) -> None:
    with liar.telling(DISCOVERY, issuer="https://another.example"):
        code, err = add(cli, liar.issuer, liar.ca_file)
    assert (code, err.splitlines()[0]) == (
        8, f"tokenctl: the metadata of {liar.issuer} is of another issuer: https://another.example",
    )  # fmt: skip
    assert not (cli.home / ".config/tokenctl/profiles/x.toml").exists()


def test_endpoints_elsewhere_are_confirmed_once_and_a_later_change_is_a_hard_stop(cli: Cli, liar: Liar) -> None:
    elsewhere = "https://elsewhere.example"
    with liar.telling(DISCOVERY, revocation_endpoint=f"{elsewhere}/revoke"):
        code, err = add(cli, liar.issuer, liar.ca_file)
        assert code == 2
        assert f"notice: {liar.issuer} has endpoints at {elsewhere}: revocation\n" in err
        assert add(cli, liar.issuer, liar.ca_file, "--yes") == (0, "")
        credential = cli.home / "secret"
        credential.touch(mode=0o600)
        credential.write_text("a secret")
        done = cli("issue", "-p", "x", "--credential-file", str(credential), "--scope", "a:read")
        assert done.code == 0, done.err
    with liar.telling(DISCOVERY, introspection_endpoint="https://thief.example/introspect"):
        for path in (cli.home / ".cache/tokenctl/x").iterdir():
            path.unlink()
        done = cli("issue", "-p", "x", "--credential-file", str(credential), "--scope", "a:read")
    assert (done.code, done.out) == (8, "")
    assert done.err.splitlines()[0] == (
        f"tokenctl: {liar.issuer} names an endpoint at https://thief.example, which was never confirmed: nothing was sent there"
    )


def test_an_override_stands_for_what_the_metadata_says(cli: Cli, liar: Liar, authority: object) -> None:
    with breaking(liar.issuer, authority, lambda *_: PASS) as breaker:
        assert add(cli, liar.issuer, liar.ca_file, "--endpoint", f"token={breaker.url}/token") == (0, "")
        credential = cli.home / "secret"
        credential.touch(mode=0o600)
        credential.write_text("a secret")
        assert cli("issue", "-p", "x", "--credential-file", str(credential), "--scope", "a:read").code == 0
    assert [request.path for request in breaker.passed] == ["/token"]


def test_metadata_is_asked_for_once_in_ten_minutes(cli: Cli, authority: object, tmp_path: Path) -> None:
    with provider_module.running(tmp_path / "own", authority) as server:
        at = AtServer(cli, server, server.client)
        _, token = at.issued("--scope", "a:read")
        (metadata,) = (cli.home / ".cache/tokenctl/prod").iterdir()
        assert metadata.stat().st_mode & 0o777 == 0o600
        before = metadata.read_bytes()
        assert at("inspect", "-", input=token).code == 0
        assert metadata.read_bytes() == before
