"""The verbs over the real OpenBao: what it grants, denies, warns of, and does not say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.at_openbao import AtOpenBao
from tests.conftest import Cli
from tests.servers.openbao import OpenBao
from tokenctl.backends.openbao.answers import facts


@pytest.fixture
def vault(cli: Cli, openbao: OpenBao) -> AtOpenBao:
    return AtOpenBao(cli, openbao)


def operator(openbao: OpenBao, name: str, **paths: list[str]) -> dict[str, Any]:
    """Return an operator's token that may do this alone."""
    rules: dict[str, list[str] | str] = {path.replace("__", "/"): capabilities for path, capabilities in paths.items()}
    openbao.policy(name, **rules)
    return openbao.token(policies=[name])


CREATE, LOOKUP, REVOKE = "auth__token__create", "auth__token__lookup-accessor", "auth__token__revoke-accessor"


def test_a_token_is_what_was_asked_for_and_is_named_by_its_accessor(vault: AtOpenBao) -> None:
    vault.server.policy("reader", **{"secret/data/*": ["read"]})
    identifier, text = vault.issued("--scope", "reader", "--ttl", "10m", "--max-uses", "3", "--label", "team=x", "--note", "n")
    told = vault.lookup(identifier)
    assert told is not None
    assert (told["policies"], told["creation_ttl"], told["explicit_max_ttl"], told["num_uses"]) == (["reader"], 600, 600, 3)
    assert (told["renewable"], told["type"], told["display_name"]) == (False, "service", "token-someone")
    assert {"subject": "someone", "team": "x", "note": "n"}.items() <= told["meta"].items()
    for arguments, given in ((["inspect", identifier], None), (["inspect", "-"], text)):
        done = vault(*arguments, "-o", "json", input=given)
        assert done.code == 0, done.err
        answer = done.json
        assert (answer["id"], answer["active"], answer["scope"], answer["uses"], answer["max_uses"]) == (
            identifier, True, ["reader"], 0, 3,
        )  # fmt: skip
    listed = vault("list", "-o", "json")
    assert [token["id"] for token in listed.json["tokens"]] == [identifier]
    vault.server.node.call(text, "GET", "auth/token/lookup-self")
    assert vault("inspect", identifier, "-o", "json").json["uses"] == 1  # refused by its policy, and counted


def test_a_revocation_is_proved_and_a_rerun_changes_nothing(vault: AtOpenBao) -> None:
    identifier, text = vault.issued()
    done = vault("revoke", identifier, "--yes", "--reason", "test", "-o", "json")
    assert (done.code, done.err) == (0, "")
    (target,) = done.json["targets"]
    assert (target["outcome"], target["state_before"], target["reason"]) == ("revoked", "active", "test")
    assert vault.lookup(identifier) is None
    again = vault("revoke", "-", "--yes", "--reason", "compromised", "-o", "json", input=text)
    (target,) = again.json["targets"]
    assert (again.code, target["outcome"], target["reason"]) == (0, "already_revoked", "test")
    asked = vault("inspect", "-", "-o", "json", input=text)
    assert (asked.code, asked.json["active"], asked.json["state"]) == (3, False, "revoked")
    assert vault("audit", "verify").code == 0


def test_what_is_unknown_to_it_is_told_though_it_answers_200(vault: AtOpenBao) -> None:
    accessor = vault.server.token(policies=["default"])["accessor"]
    absent = accessor[:-4] + accessor[-4:].swapcase() + ""
    done = vault("revoke", absent, accessor, "--yes", "-o", "json")
    assert done.code == 5
    assert [(target["id"], target["outcome"]) for target in done.json["targets"]] == [
        (absent, "unknown"), (accessor, "revoked"),
    ]  # fmt: skip
    assert vault.lookup(accessor) is None


def test_policies_that_do_not_exist_are_told_and_default_is_not_added(vault: AtOpenBao) -> None:
    done = vault("issue", "--subject", "s", "--scope", "nonsense", "-o", "json")
    assert done.code == 0
    assert any('Policy "nonsense" does not exist' in warning for warning in done.json["warnings"])
    assert done.json["scope"] == ["nonsense"]


def test_a_lifetime_that_it_cuts_is_told_and_is_the_one_that_counts(vault: AtOpenBao, openbao: OpenBao) -> None:
    openbao.sudo("POST", "sys/mounts/auth/token/tune", max_lease_ttl="1h", default_lease_ttl="1h")
    try:
        done = vault("issue", "--subject", "s", "--ttl", "10h", "-o", "json")
    finally:
        openbao.sudo("POST", "sys/mounts/auth/token/tune", max_lease_ttl="768h", default_lease_ttl="768h")
    assert done.code == 0, done.err
    assert 3590 <= int(str(done.json["expires_in"])) <= 3600
    assert any("the service cut the lifetime to 3600 s" in warning for warning in done.json["warnings"])


def test_a_token_dies_with_the_credential_that_made_it_and_that_is_told(vault: AtOpenBao, openbao: OpenBao) -> None:
    short = openbao.token(policies=["root"], ttl="5m")
    vault.hand_in(short["client_token"])
    done = vault("issue", "--subject", "s", "--ttl", "1h", "-q")
    assert done.code == 0
    assert "it dies with the credential that made it, at " in done.err


@pytest.mark.parametrize(
    ("arguments", "lack"),
    [
        (("--audience", "api"), "--audience"),
        (("--kind", "service", "--scope", "x"), "--kind"),
        (("--not-before", "+1h"), "--not-before"),
    ],
)  # fmt: skip
def test_what_it_cannot_grant_is_refused_before_anything_starts(vault: AtOpenBao, arguments: tuple[str, ...], lack: str) -> None:
    done = vault("issue", "--subject", "s", *arguments)
    assert (done.code, done.out) == (9, "")
    assert f"grants no {lack}" in done.err
    assert not (vault.cli.home / ".local/share/tokenctl/vault/store.db").exists()


def test_an_operator_without_rights_is_denied_access_and_no_token_is_called_dead(vault: AtOpenBao, openbao: OpenBao) -> None:
    identifier, text = vault.issued()
    vault.hand_in(operator(openbao, "nobody", secret__x=["read"])["client_token"])
    for arguments, given in ((["inspect", identifier], None), (["inspect", "-"], text)):
        done = vault(*arguments, input=given)
        assert done.code == 4, done.out
        assert "the credential may not use auth/token/lookup" in done.err
    assert vault("revoke", identifier, "--yes", "-q").code in (4, 11)
    assert vault.lookup(identifier) is not None
    refused = vault("issue", "--subject", "s")
    assert (refused.code, refused.out) == (4, "")
    assert "may not create tokens with these policies" in refused.err
    assert ("remote.outcome", "issue", "failed") in vault.records()


def test_a_credential_that_is_refused_is_no_answer_about_a_token(vault: AtOpenBao) -> None:
    identifier, text = vault.issued()
    vault.hand_in("s.nonsense")
    for arguments, given in ((["inspect", identifier], None), (["inspect", "-"], text), (["whoami"], None)):
        done = vault(*arguments, input=given)
        assert (done.code, done.out) == (4, ""), done.err
        assert "refuses the credential" in done.err
        assert "nonsense" not in done.err


def test_the_operators_own_token_is_spared_unless_it_is_meant(vault: AtOpenBao, openbao: OpenBao) -> None:
    own = openbao.token(policies=["root"], ttl="1h")
    vault.hand_in(own["client_token"])
    done = vault("revoke", own["accessor"], "--yes")
    assert done.code == 2
    assert "is the credential that this command works with: nothing was started" in done.err
    assert vault.lookup(own["accessor"]) is not None
    vault("revoke", own["accessor"], "--including-self", "--yes", "-q")
    assert vault.lookup(own["accessor"]) is None


def test_a_batch_token_cannot_be_revoked_and_that_is_said(vault: AtOpenBao, openbao: OpenBao) -> None:
    batch = openbao.token(policies=["default"], type="batch", ttl="10m")["client_token"]
    done = vault("revoke", "-", "--ask", "vault", "--yes", "-o", "json", input=batch)
    assert done.code == 11, done.err
    (target,) = done.json["targets"]
    assert target["outcome"] == "still_active"
    assert "batch tokens cannot be revoked" in target["detail"]
    assert batch not in done.out + done.err


def test_nobody_is_sent_a_token_that_no_row_knows(vault: AtOpenBao, openbao: OpenBao) -> None:
    other = openbao.token(policies=["default"])["client_token"]
    vault.issued()
    before = openbao.node.audit_log.stat().st_size
    done = vault("revoke", "-", "--yes", input=other)
    assert done.code == 5
    with openbao.node.audit_log.open("rb") as log:
        log.seek(before)
        assert b"auth/token/revoke" not in log.read()
    assert vault("revoke", "-", "--ask", "vault", "--yes", "-q", input=other).code == 0
    assert openbao.node.call(other, "GET", "auth/token/lookup-self").status_code == 403


class TestChildren:
    """A token that was issued through the profile becomes the operator, and issues."""

    @pytest.fixture
    def family(self, vault: AtOpenBao) -> tuple[str, str, list[str]]:
        parent, text = vault.issued("--scope", "root", "--ttl", "2h")
        root = vault.credential.read_text()
        vault.hand_in(text)
        children = [vault.issued("--ttl", "1h")[0] for _ in range(2)]
        vault.hand_in(root)
        return parent, text, children

    def test_they_are_counted_and_die_with_their_parent(self, vault: AtOpenBao, family: tuple[str, str, list[str]]) -> None:
        parent, _, children = family
        assert vault("inspect", parent, "-o", "json").json["children"] == 2
        assert vault("inspect", children[0], "-o", "json").json["parent"] == parent
        done = vault("revoke", parent, "--yes", "-o", "json")
        (target,) = done.json["targets"]
        assert (done.code, target["outcome"], target["children"]) == (0, "revoked", 2)
        assert [vault.lookup(child) for child in children] == [None, None]
        assert vault("list").out == ""
        assert vault("audit", "verify").code == 0

    def test_they_are_kept_where_the_secret_is_given(self, vault: AtOpenBao, family: tuple[str, str, list[str]]) -> None:
        parent, text, children = family
        by_id = vault("revoke", parent, "--keep-children", "--yes")
        assert by_id.code == 9
        assert "revoke - --keep-children < FILE" in by_id.err
        assert vault.lookup(parent) is not None
        done = vault("revoke", "-", "--keep-children", "--yes", "-o", "json", input=text)
        (target,) = done.json["targets"]
        assert (done.code, target["outcome"], target["children"], target["detail"]) == (0, "revoked", 0, "2 children kept")
        assert vault.lookup(parent) is None
        assert all(vault.lookup(child) is not None for child in children)
        assert sorted(line.split("\t")[0] for line in vault("list").out.splitlines()) == sorted(children)
        assert vault("audit", "verify").code == 0

    def test_keeping_them_takes_sudo(self, vault: AtOpenBao, openbao: OpenBao, family: tuple[str, str, list[str]]) -> None:
        parent, text, _ = family
        rights: dict[str, list[str]] = {
            "auth__token__lookup": ["update"], "auth__token__revoke-orphan": ["update"], LOOKUP: ["update"]
        }  # fmt: skip
        vault.hand_in(operator(openbao, "orphaner", **rights)["client_token"])
        done = vault("revoke", "-", "--keep-children", "--yes", "-o", "json", input=text)
        assert done.code in (4, 11)
        assert "takes sudo" in done.out
        assert vault.lookup(parent) is not None


class TestAppRole:
    """An AppRole logs in for each command, and its login ends with it."""

    def login(self, vault: AtOpenBao, policy: str, ttl: str = "5m", **paths: list[str]) -> None:
        vault.server.policy(policy, **{path.replace("__", "/"): can for path, can in paths.items()})
        vault.hand_in_approle(*vault.server.app_role(policy, policy, token_ttl=ttl))

    def tokens(self, openbao: OpenBao) -> set[str]:
        return set(openbao.sudo("LIST", "auth/token/accessors")["data"]["keys"])

    def test_what_it_issues_outlives_its_login_and_no_login_is_left(self, vault: AtOpenBao, openbao: OpenBao) -> None:
        self.login(vault, "issuer-a", **{"auth__token__create-orphan": ["update", "sudo"], LOOKUP: ["update"]})
        openbao.policy("issuer-a", **{
            "auth/token/create-orphan": ["update", "sudo"], "auth/token/lookup-accessor": ["update"],
        })  # fmt: skip
        before = self.tokens(openbao)
        done = vault("issue", "--subject", "s", "--scope", "issuer-a", "--ttl", "1h", "-o", "json")
        assert done.code == 0, done.err
        assert self.tokens(openbao) - before == {done.json["id"]}
        told = vault.lookup(str(done.json["id"]))
        assert told is not None
        assert told["orphan"] is True

    def test_where_it_may_make_no_orphans_a_long_life_is_refused_and_a_short_one_granted(
        self, vault: AtOpenBao, openbao: OpenBao
    ) -> None:
        self.login(vault, "issuer-b", **{CREATE: ["update"]})
        refused = vault("issue", "--subject", "s", "--scope", "issuer-b", "--ttl", "1h")
        assert (refused.code, refused.out) == (4, "")
        assert "dies with the login of its AppRole in 300 s" in refused.err
        done = vault("issue", "--subject", "s", "--scope", "issuer-b", "--ttl", "4m", "-o", "json")
        assert done.code == 0, done.err
        assert vault.lookup(str(done.json["id"])) is not None  # its login was not ended with the command

    def test_a_secret_id_for_one_login_is_enough_for_many_revocations(self, vault: AtOpenBao, openbao: OpenBao) -> None:
        made = [vault.issued()[0] for _ in range(12)]
        openbao.policy("revoker", **{"auth/token/revoke-accessor": ["update"], "auth/token/lookup-accessor": ["update"]})
        vault.hand_in_approle(*openbao.app_role("revoker", "revoker", secret_id_num_uses=1))
        done = vault("revoke", *made, "--yes", "-o", "json")
        assert (done.code, done.json["counts"]["revoked"]) == (0, 12), done.err

    def test_a_wrong_secret_id_is_access_denied(self, vault: AtOpenBao, openbao: OpenBao) -> None:
        role, _ = openbao.app_role("wrong", "default")
        vault.hand_in_approle(role, "00000000-0000-0000-0000-000000000000")
        done = vault("whoami")
        assert (done.code, done.out) == (4, "")
        assert "refuses the AppRole" in done.err


def test_a_token_whose_revocation_was_cut_off_is_shown_by_the_server_and_is_not_active() -> None:
    shown = {"accessor": "GPSZqynR6rddcuUMKRHSOOv3", "policies": ["default"], "num_uses": -1}
    assert facts(shown).active is False
    assert facts({**shown, "num_uses": 0}).active is True


def test_a_namespace_is_a_world_of_its_own(cli: Cli, openbao: OpenBao) -> None:
    openbao.sudo("POST", "sys/namespaces/team")
    inside, outside = AtOpenBao(cli, openbao, name="inside", namespace="team"), AtOpenBao(cli, openbao)
    identifier, text = inside.issued("--ttl", "5m")
    assert "." in identifier  # it names its namespace
    assert inside("inspect", identifier, "-q").code == 0
    assert inside("inspect", "-", "-q", input=text).code == 0
    headers = {"X-Vault-Token": text, "X-Vault-Namespace": "team"}
    assert openbao.node.http.get("auth/token/lookup-self", headers=headers).status_code == 200
    assert outside("list").out == ""
    done = inside("revoke", identifier, "--yes", "-o", "json")
    assert (done.code, done.json["counts"]["revoked"]) == (0, 1), done.out
    assert openbao.node.http.get("auth/token/lookup-self", headers=headers).status_code == 403


def test_a_rate_limit_without_a_time_is_waited_for_and_then_told(vault: AtOpenBao, openbao: OpenBao) -> None:
    identifier, _ = vault.issued()
    openbao.sudo("POST", "sys/quotas/rate-limit/none", path="auth/token/lookup-accessor", rate=0.01, interval="60s")
    openbao.node.call(openbao.root_token, "POST", "auth/token/lookup-accessor", accessor=identifier)
    try:
        done = vault("inspect", identifier, "--timeout", "5s")
    finally:
        openbao.sudo("DELETE", "sys/quotas/rate-limit/none")
    assert (done.code, done.out) == (7, "")
    assert "answered 429" in done.err
    assert vault("inspect", identifier, "-q").code == 0


class TestTheLogOfTheServer:
    """``audit log --token -`` tells under which hash the server's own audit device has a token."""

    def entries(self, openbao: OpenBao, mark: str) -> set[str]:
        lines = [json.loads(line)["request"] for line in openbao.node.audit_log.read_text().splitlines()]
        return {line["path"] for line in lines if line.get("client_token") == mark}

    def test_a_token_of_the_profile_is_found_there(self, vault: AtOpenBao, openbao: OpenBao) -> None:
        identifier, text = vault.issued("--scope", "default")
        openbao.node.call(text, "GET", "auth/token/lookup-self")
        done = vault("audit", "log", "--token", "-", "-o", "json", input=text)
        assert (done.code, done.err) == (0, "")
        (trace,) = done.json["traces"]
        assert trace == {"id": identifier, "device": "file/", "hash": openbao.audit_hash(text)}
        assert self.entries(openbao, trace["hash"]) == {"auth/token/lookup-self"}
        assert [record["operation"] for record in done.json["records"]] == ["token.issue", "remote.outcome"]
        plain = vault("audit", "log", "--token", "-", input=text)
        assert plain.out.splitlines()[-1] == f"trace\t{identifier}\tfile/\t{trace['hash']}"
        lines = vault("audit", "log", "--token", "-", "-o", "jsonl", input=text)
        assert lines.lines[-1] == {"trace": trace}
        assert text not in done.out + plain.out + lines.out

    def test_another_token_is_sent_there_only_when_that_is_asked_for(self, vault: AtOpenBao, openbao: OpenBao) -> None:
        vault.issued()
        other = openbao.token(policies=["default"])["client_token"]
        before = openbao.node.audit_log.stat().st_size
        assert vault("audit", "log", "--token", "-", input=other).code == 5
        assert openbao.node.audit_log.stat().st_size == before
        done = vault.cli(
            "audit", "log", "--token", "-", "--ask", "vault", "--credential-file", str(vault.credential), "-o", "json",
            input=other,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert [trace["hash"] for trace in done.json["traces"]] == [openbao.audit_hash(other)]
        assert done.json["records"] == []

    def test_what_could_not_be_asked_is_no_complete_answer(self, vault: AtOpenBao, openbao: OpenBao) -> None:
        _, text = vault.issued()
        vault.hand_in(operator(openbao, "blind", secret__x=["read"])["client_token"])
        done = vault("audit", "log", "--token", "-", "-o", "json", input=text)
        assert done.code == 11
        assert "the credential may not use sys/audit" in done.err
        assert (len(done.json["records"]), done.json["traces"]) == (2, [])


def test_no_secret_is_in_the_log_or_the_store(vault: AtOpenBao, openbao: OpenBao) -> None:
    _, text = vault.issued()
    vault("revoke", "-", "--yes", "-q", input=text)
    for path in vault.cli.home.rglob("*"):
        if path.is_file() and path != vault.credential:
            data = path.read_bytes()
            assert text.encode() not in data, path
            assert openbao.root_token.encode() not in data, path
    assert text not in json.dumps(vault.records())
