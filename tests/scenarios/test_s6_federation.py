"""S6: tokens of two foreign issuers are accepted by audience and trust, refused otherwise, and the error names why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.remote import AtServer
from tests.servers.oidc_provider import JWT, OidcProvider

MINUTE = 60_000
OURS = ("--audience", JWT)


@pytest.fixture(params=["local", "remote"])
def gateway(request: pytest.FixtureRequest, cli: Cli, oidc_provider: OidcProvider, other_oidc_provider: OidcProvider) -> Cli:
    """A profile that trusts both issuers: a local one, and one at the first of them that trusts the second."""
    trusted = [oidc_provider, other_oidc_provider]
    if request.param == "remote":
        AtServer(cli, oidc_provider, oidc_provider.client, name="gateway")
        cli.env["TOKENCTL_PROFILE"] = "gateway"
        cli.env["TOKENCTL_CREDENTIAL_FILE"] = str(cli.home / "gateway.credential")
        trusted = trusted[1:]
    for server in trusted:
        done = cli("profile", "trust", server.issuer, "--ca-file", str(server.ca_file), "-o", "json")
        assert done.code == 0, done.err
        assert (done.json["issuer"], done.json["keys"], done.json["removed"]) == (server.issuer, 1, False)
    return cli


def test_federation(gateway: Cli, oidc_provider: OidcProvider, other_oidc_provider: OidcProvider) -> None:
    tokens = [server.issue(server.client, resource=JWT)["access_token"] for server in (oidc_provider, other_oidc_provider)]

    for server, token in zip((oidc_provider, other_oidc_provider), tokens, strict=True):
        accepted = gateway("inspect", "-", *OURS, "-o", "json", input=token)
        assert accepted.code == 0, accepted.err
        assert (accepted.json["active"], accepted.json["issuer"], accepted.json["signature"]) == (True, server.issuer, "valid")
        assert gateway("inspect", "-", *OURS, "--issuer", server.issuer, "-q", input=token).code == 0

    # The audience is named where it is another, and where none was expected.
    for arguments, why in (
        (("--audience", "https://other.example"), f"the token is for another audience: {JWT}"),
        ((), f"the token is for the audience {JWT}; none was expected"),
        ((*OURS, "--issuer", "https://third.example"), f"the issuer is another one: {other_oidc_provider.issuer}"),
        ((*OURS, "--scope", "a:write"), "the scope is not granted: a:write"),
    ):
        refused = gateway("inspect", "-", *arguments, input=tokens[1])
        assert refused.code == 3
        assert why in refused.out

    # The skew of the clocks is named: theirs is an hour ahead of ours, or ours of theirs; a minute is forgiven.
    now = time.time_ns() // 1_000_000
    for clock, code, why in (
        (now - 30_000, 0, ""), (now - 60 * MINUTE, 3, ": clocks differ"),
        (now + 60 * MINUTE, 3, "expired"), (now + 10 * MINUTE + 30_000, 0, ""),
    ):  # fmt: skip
        told = gateway.at(clock, "inspect", "-", *OURS, input=tokens[1])
        assert (told.code, why in told.out) == (code, True), told.out


def test_what_is_not_trusted_is_decoded_and_refused(gateway: Cli, other_oidc_provider: OidcProvider) -> None:
    token = other_oidc_provider.issue(other_oidc_provider.client, resource=JWT)["access_token"]
    assert gateway("profile", "trust", other_oidc_provider.issuer, "--remove").code == 0
    refused = gateway("inspect", "-", *OURS, "-o", "json", input=token)
    assert (refused.code, refused.json["active"], refused.json["signature"]) == (3, False, "not_checked")
    assert gateway("inspect", "-", *OURS, input=token).out.startswith("not active: UNVERIFIED, its signature is not checked\n")
    assert gateway("profile", "trust", other_oidc_provider.issuer, "--remove").code == 5


def test_an_issuer_speaks_for_itself_alone(gateway: Cli, oidc_provider: OidcProvider, other_oidc_provider: OidcProvider) -> None:
    """One that is trusted cannot make tokens of the other: each is verified by the keys of the issuer that it names."""
    first, second = (server.issue(server.client, resource=JWT)["access_token"] for server in (oidc_provider, other_oidc_provider))
    crossed = ".".join([second.split(".")[0], first.split(".")[1], second.split(".")[2]])
    refused = gateway("inspect", "-", *OURS, "-o", "json", input=crossed)
    assert (refused.code, refused.json["signature"]) == (3, "invalid")


def test_a_foreign_token_is_never_revoked_here(gateway: Cli, other_oidc_provider: OidcProvider) -> None:
    token = other_oidc_provider.issue(other_oidc_provider.client, resource=JWT)["access_token"]
    done = gateway("revoke", "-", "--yes", "-o", "json", input=token)
    assert (done.code, done.json["targets"], done.json["foreign"]) == (5, [], {"jwt": 1})


def test_a_key_that_rotates_is_followed(cli: Cli, authority: object, tmp_path: Path) -> None:
    from tests.servers.oidc_provider import running

    with running(tmp_path / "own", authority) as server:
        cli("profile", "trust", server.issuer, "--ca-file", str(server.ca_file))
        server.rotate_key()
        token = server.issue(server.client, resource=JWT)["access_token"]
        now = time.time_ns() // 1_000_000
        assert cli.at(now + MINUTE + 1, "inspect", "-", *OURS, "-q", input=token).code == 0
        server.process.stop()
        assert cli.at(now + 2 * MINUTE, "inspect", "-", *OURS, "-q", input=token).code == 0  # what is kept is enough
        away = cli.at(now + 120 * MINUTE, "inspect", "-", *OURS, "--timeout", "1s", input=token)
        assert away.code == 7
        assert f"tokenctl: {server.issuer} was not reached" in away.err
