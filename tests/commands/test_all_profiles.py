"""``--all-profiles``: each token goes to the profile that it belongs to, and to nobody else."""

from __future__ import annotations

import json
import secrets

import pytest


def kept(cli, name, secret):
    """Return the options that hand a credential in."""
    path = cli.home / f"{name}.credential"
    path.touch(mode=0o600)
    path.write_text(secret)
    return ("--credential-file", str(path))


@pytest.fixture
def three(cli, oidc_provider, openbao):
    """A local profile, one at an authorization server and one at a token store; each has one token."""
    server = oidc_provider
    made = cli(
        "profile", "add", "prod", "--backend", "oauth2", "--issuer", server.issuer, "--client-id", server.client.id,
        "--ca-file", str(server.ca_file),
    )  # fmt: skip
    assert made.code == 0, made.err
    made = cli("profile", "add", "vault", "--backend", "openbao", "--address", openbao.address, "--ca-file", str(openbao.ca_file))
    assert made.code == 0, made.err
    # One file serves both: each profile has a credential of its own in it only by its place, so each is named for its profile.
    tokens = {
        "local": cli.token(),
        "prod": cli("-p", "prod", *kept(cli, "prod", server.client.secret), "issue", "-q").out.strip(),
        "vault": cli("-p", "vault", *kept(cli, "vault", openbao.root_token), "issue", "--subject", "v", "-q").out.strip(),
    }
    assert all(tokens.values())
    handed = cli.home / "credentials"
    handed.mkdir(mode=0o700)
    for name, secret in (("prod", server.client.secret), ("vault", openbao.root_token)):
        path = handed / f"tokenctl.{name}"
        path.touch(mode=0o400)
        path.chmod(0o600)
        path.write_text(secret)
        path.chmod(0o400)
    cli.env["CREDENTIALS_DIRECTORY"] = str(handed)
    return tokens


def test_each_token_is_answered_by_the_profile_that_it_belongs_to(cli, three):
    done = cli("inspect", "-", "--all-profiles", "-o", "jsonl", input="\n".join(three.values()))
    assert done.code == 0, done.err
    assert [(line["profile"], line["active"]) for line in done.lines] == [("local", True), ("prod", True), ("vault", True)]
    ids = [line["id"] for line in done.lines]
    named = cli("inspect", *ids, "--all-profiles", "-o", "jsonl")
    # An authorization server takes no ids, so that one is only looked up here.
    assert [(line["profile"], line["active"]) for line in named.lines] == [("local", True), ("prod", None), ("vault", True)]
    assert named.code == 11


def test_what_belongs_to_none_is_sent_nowhere(cli, three, oidc_provider):
    stranger = f"some-opaque-token-{secrets.token_urlsafe(24)}"
    done = cli("inspect", "-", "--all-profiles", "-o", "json", input=stranger)
    assert (done.code, done.json["active"], done.json["state"]) == (11, None, "not_checked")
    assert stranger not in done.out + done.err
    gone = cli("inspect", "-", "--all-profiles", input=stranger)
    assert gone.out.startswith("not checked: it belongs to no profile, so it was sent nowhere; to send it: --ask PROFILE\n")
    log = oidc_provider.log.read_text(errors="replace")
    assert stranger not in log


def test_a_paste_is_revoked_where_each_token_lives(cli, three, oidc_provider, openbao):
    paste = f"seen: {three['local']}\ncurl -H 'Authorization: Bearer {three['prod']}'\nVAULT_TOKEN={three['vault']}\nnoise\n"
    done = cli("revoke", "-", "--all-profiles", "--yes", "-o", "jsonl", input=paste)
    assert (done.code, done.err) == (0, "")
    assert [line["outcome"] for line in done.lines] == ["revoked"] * 3
    assert not oidc_provider.is_active(oidc_provider.client, three["prod"])
    assert openbao.node.call(openbao.root_token, "POST", "auth/token/lookup", token=three["vault"]).status_code == 403
    again = cli("revoke", "-", "--all-profiles", "--yes", "-o", "jsonl", input=paste)
    assert (again.code, [line["outcome"] for line in again.lines]) == (0, ["already_revoked"] * 3)
    for token in three.values():
        assert token not in done.out + done.err + again.out + again.err


def test_the_log_of_each_profile_tells_of_its_own(cli, three):
    done = cli("audit", "log", "--token", "-", "--all-profiles", "-o", "jsonl", input="\n".join(three.values()))
    assert (done.code, done.err) == (0, "")
    issued = [line for line in done.lines if line["operation"] == "token.issue"]
    assert [line["actor"]["profile"] for line in issued] == ["local", "prod", "vault"]
    assert len({json.dumps(line["target"]) for line in done.lines}) == 3


def test_a_profile_that_cannot_be_asked_is_told_and_nothing_is_called_done(cli, three, openbao):
    cli.env.pop("CREDENTIALS_DIRECTORY")
    done = cli("revoke", "-", "--all-profiles", "--yes", input=f"{three['local']}\n{three['vault']}\n")
    assert done.code != 0
    assert "vault" in done.err
    assert openbao.node.call(openbao.root_token, "POST", "auth/token/lookup", token=three["vault"]).status_code == 200


def test_a_profile_file_that_is_broken_keeps_the_others_from_nothing(cli, three):
    (cli.home / ".config/tokenctl/profiles/broken.toml").write_text("backend = 7\n")
    done = cli("inspect", "-", "--all-profiles", input=three["local"])
    assert done.code == 11
    assert done.out.startswith("active, ")
    assert done.err.startswith("profile broken was not looked at: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "-", "--all-profiles", "--profile", "local"),
        ("inspect", "-", "--all-profiles", "--ask", "local"),
        ("inspect", "-", "--all-profiles", "--jwks", "x"),
        ("revoke", "--all-profiles", "--subject", "x"),
        ("revoke", "-", "--all-profiles", "--expect", "1"),
        ("audit", "log", "--all-profiles"),
        ("inspect", "-", "--all-profiles", "--credential-file", "x"),
        ("revoke", "-", "--all-profiles", "--credential-fd", "0"),
    ],
)
def test_what_does_not_go_with_it_is_refused(cli, arguments):
    done = cli(*arguments, input="x\n")
    assert (done.code, done.out) == (2, "")
    assert "--all-profiles" in done.err


def test_one_credential_is_never_shown_to_every_service(cli):
    done = cli("revoke", "-", "--all-profiles", "--yes", input="x\n", env={"TOKENCTL_CREDENTIAL_FILE": "x"})
    assert (done.code, done.out) == (2, "")
    assert "hand none in" in done.err
