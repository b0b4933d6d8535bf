"""An answer of a service that is lost: never a second token that nobody has, and what may be there is found or told."""

from __future__ import annotations

import time

import pytest

from tests.servers import breaker

CREATE = "/v1/auth/token/create"


def profile_at(cli, openbao, address):
    """Make the profile ``vault`` at an address; its credential comes with every command."""
    made = cli("profile", "add", "vault", "--backend", "openbao", "--address", address, "--ca-file", str(openbao.ca_file))
    assert made.code == 0, made.err
    credential = cli.home / "credential"
    credential.touch(mode=0o600)
    credential.write_text(openbao.root_token)
    cli.env |= {"TOKENCTL_PROFILE": "vault", "TOKENCTL_CREDENTIAL_FILE": str(credential)}


def living(openbao, named):
    """Return the accessors of living tokens that a request brought, as the server tells."""
    node, root = openbao.node, openbao.root_token
    listed = node.call(root, "LIST", "auth/token/accessors").json()["data"]["keys"]
    found = []
    for accessor in listed:
        looked = node.call(root, "POST", "auth/token/lookup-accessor", accessor=accessor)
        if looked.status_code == 200 and (looked.json()["data"]["meta"] or {}).get("request_id") == named:
            found.append(accessor)
    return found


@pytest.fixture
def lossy(cli, openbao, authority):
    """A profile whose first answer to the creation of a token is lost on its way; returns what stands between."""
    seen = []

    def choosing(request, _number):
        if request.path != CREATE:
            return breaker.PASS
        seen.append(request)
        return breaker.LOSE if len(seen) == 1 else breaker.PASS

    with breaker.breaking(openbao.address, authority, choosing) as between:
        profile_at(cli, openbao, between.url)
        yield seen


def test_an_issue_whose_answer_is_lost_says_so_and_is_not_asked_for_twice(cli, lossy, openbao):
    done = cli("issue", "--subject", "ci", "--request-id", "one")
    assert (done.code, done.out) == (7, "")
    assert "whether a token was issued is not known" in done.err
    assert "audit reconcile" in done.err
    assert len(lossy) == 1
    assert len(living(openbao, "one")) == 1
    assert cli("audit", "verify", "-q").code == 0


def test_the_same_request_again_denies_what_nobody_has_before_it_brings_another(cli, lossy, openbao):
    assert cli("issue", "--subject", "ci", "--request-id", "two").code == 7
    (lost,) = living(openbao, "two")
    again = cli("issue", "--subject", "ci", "--request-id", "two", "-q")
    assert (again.code, again.err) == (0, "")
    (only,) = living(openbao, "two")
    assert only != lost
    assert cli("inspect", "-", "-q", input=again.out).code == 0
    assert cli("issue", "--subject", "ci", "--request-id", "two", "-q").code == 6
    assert cli("audit", "verify", "-q").code == 0
    assert cli("audit", "review", "--rule", "intent-orphaned", "-q").code == 0


def test_reconciling_finds_the_token_and_denies_it(cli, lossy, openbao):
    assert cli("issue", "--subject", "ci", "--request-id", "three").code == 7
    later = int(time.time() * 1000) + 6 * 60_000
    review = cli.at(later, "audit", "review", "--rule", "intent-orphaned", "-o", "json")
    assert (review.code, [finding["rule"] for finding in review.json["findings"]]) == (3, ["intent-orphaned"])
    told = cli.at(later, "audit", "reconcile", "-n", "-o", "json")
    assert [each["outcome"] for each in told.json["settled"]] == ["waiting"]
    assert len(living(openbao, "three")) == 1
    done = cli.at(later, "audit", "reconcile", "-o", "json")
    assert (done.code, [(each["what"], each["outcome"]) for each in done.json["settled"]]) == (0, [("issue intent", "revoked")])
    assert living(openbao, "three") == []
    assert cli.at(later, "audit", "reconcile", "-o", "json").json["settled"] == []
    assert cli.at(later, "audit", "review", "--rule", "intent-orphaned", "-q").code == 0
    assert cli.at(later, "audit", "verify", "-q").code == 0


def test_what_a_command_may_still_be_at_is_left_to_it(cli, lossy):
    assert cli("issue", "--subject", "ci").code == 7
    done = cli("audit", "reconcile", "-o", "json")
    assert (done.code, [each["outcome"] for each in done.json["settled"]]) == (0, ["pending"])


def test_an_authorization_server_cannot_find_it_so_its_end_is_waited_for(cli, oidc_provider, authority):
    server, first = oidc_provider, []

    def choosing(request, _number):
        if request.path != "/token" or first:
            return breaker.PASS
        first.append(request)
        return breaker.LOSE

    with breaker.breaking(server.issuer, authority, choosing) as between:
        made = cli(
            "profile", "add", "prod", "--backend", "oauth2", "--issuer", server.issuer, "--client-id", server.client.id,
            "--ca-file", str(server.ca_file), "--endpoint", f"token={between.url}/token", "--yes",
        )  # fmt: skip
        assert made.code == 0, made.err
        credential = cli.home / "credential"
        credential.touch(mode=0o600)
        credential.write_text(server.client.secret)
        cli.env |= {"TOKENCTL_PROFILE": "prod", "TOKENCTL_CREDENTIAL_FILE": str(credential)}
        assert cli("issue", "--request-id", "four").code == 7
        later = int(time.time() * 1000) + 6 * 60_000
        waiting = cli.at(later, "audit", "reconcile", "-o", "json")
        assert (waiting.code, [each["outcome"] for each in waiting.json["settled"]]) == (11, ["waiting"])
        again = cli("issue", "--request-id", "four", "-q")
        assert again.code == 0
        assert again.err.startswith("warning: request four was begun before: ")
        end = later + 25 * 3_600_000
        lapsed = cli.at(end, "audit", "reconcile", "-o", "json")
        assert [each["outcome"] for each in lapsed.json["settled"]] == ["lapsed"]
        assert cli.at(end, "audit", "verify", "-q").code == 0
