"""OpenBao, asked by a plain client: what the contract suite relies on, and what it must not take for granted."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.servers.authority import Authority
from tests.servers.openbao import OpenBao


def create(openbao: OpenBao, token: str, **request: object) -> dict[str, Any]:
    answer = openbao.node.call(token, "POST", "auth/token/create", **request)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["auth"])


def lookup(openbao: OpenBao, token: str) -> httpx.Response:
    return openbao.node.call(openbao.root_token, "POST", "auth/token/lookup", token=token)


def test_a_token_is_what_was_asked_for(openbao: OpenBao) -> None:
    openbao.policy("reader", **{"secret/data/*": ["read"]})
    asked = {"policies": ["reader"], "ttl": "10m", "display_name": "ci", "meta": {"subject": "job"}, "num_uses": 3}
    made = openbao.token(**asked, no_default_policy=True, renewable=False)
    told = lookup(openbao, made["client_token"]).json()["data"]
    names = ("accessor", "policies", "creation_ttl", "display_name", "meta", "num_uses", "type", "renewable", "orphan", "id")
    assert {name: told[name] for name in names} == {
        "accessor": made["accessor"], "policies": ["reader"], "creation_ttl": 600, "display_name": "token-ci",
        "meta": {"subject": "job"}, "num_uses": 3, "type": "service", "renewable": False, "orphan": False,
        "id": made["client_token"],
    }  # fmt: skip
    by_accessor = openbao.sudo("POST", "auth/token/lookup-accessor", accessor=made["accessor"])["data"]
    assert by_accessor == {**told, "id": "", "ttl": by_accessor["ttl"]}  # the accessor shows all but the secret
    assert made["accessor"] in openbao.sudo("LIST", "auth/token/accessors")["data"]["keys"]


def test_uses_are_counted_by_every_use_and_the_last_ends_it(openbao: OpenBao) -> None:
    token = openbao.token(policies=["default"], num_uses=2)["client_token"]
    answers = [openbao.node.call(token, "GET", "auth/token/lookup-self") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 403]


def test_more_and_less_than_was_asked_is_granted_with_200(openbao: OpenBao) -> None:
    """The policy ``default`` is added, a lifetime is cut, and a policy that does not exist is granted."""
    assert openbao.token(policies=["reader"])["policies"] == ["default", "reader"]
    answer = openbao.sudo("POST", "auth/token/create", policies=["default"], ttl="999999h")
    assert answer["auth"]["lease_duration"] == 768 * 3600
    assert answer["warnings"] == ['TTL of "999999h" exceeded the effective max_ttl of "768h"; TTL value is capped accordingly']
    answer = openbao.sudo("POST", "auth/token/create", policies=["nonsense"])
    assert (answer["auth"]["policies"], answer["warnings"]) == (["default", "nonsense"], ['Policy "nonsense" does not exist'])


def test_a_revoked_token_is_a_bad_token_and_its_accessor_an_invalid_one(openbao: OpenBao) -> None:
    made = openbao.token(policies=["default"])
    openbao.sudo("POST", "auth/token/revoke-accessor", accessor=made["accessor"])
    answer = lookup(openbao, made["client_token"])
    assert (answer.status_code, answer.json()) == (403, {"errors": ["bad token"]})
    answer = openbao.node.call(openbao.root_token, "POST", "auth/token/lookup-accessor", accessor=made["accessor"])
    assert answer.status_code == 400
    assert "invalid accessor" in answer.text
    answer = openbao.node.call(made["client_token"], "GET", "auth/token/lookup-self")
    assert (answer.status_code, answer.json()) == (403, {"errors": ["permission denied"]})


def test_revoking_what_it_does_not_know_succeeds(openbao: OpenBao) -> None:
    root = openbao.root_token
    assert openbao.node.call(root, "POST", "auth/token/revoke", token="s.unknown").status_code == 204
    answer = openbao.node.call(root, "POST", "auth/token/revoke-accessor", accessor="unknown")
    assert (answer.status_code, answer.json()["warnings"]) == (200, ["No token found with this accessor"])
    assert lookup(openbao, "s.unknown").json() == {"errors": ["bad token"]}


def test_a_token_dies_with_its_parent_unless_it_is_made_an_orphan(openbao: OpenBao) -> None:
    for verb, lives in (("revoke", False), ("revoke-orphan", True)):
        parent = openbao.token(policies=["root"])["client_token"]
        child = create(openbao, parent, policies=["default"])["client_token"]
        assert openbao.node.call(openbao.root_token, "POST", f"auth/token/{verb}", token=parent).status_code == 204
        assert lookup(openbao, child).status_code == (200 if lives else 403)
        assert lookup(openbao, parent).status_code == 403


def test_a_token_is_renewed_by_itself_or_by_its_accessor(openbao: OpenBao) -> None:
    made = openbao.token(policies=["default"], ttl="10m")
    answer = openbao.node.call(made["client_token"], "POST", "auth/token/renew-self", increment="1h")
    assert answer.json()["auth"]["lease_duration"] == 3600
    renewed = openbao.sudo("POST", "auth/token/renew-accessor", accessor=made["accessor"], increment="2h")["auth"]
    assert (renewed["lease_duration"], renewed["client_token"]) == (7200, "")


def test_a_periodic_token_has_no_end(openbao: OpenBao) -> None:
    made = openbao.token(policies=["default"], period="1h")
    assert lookup(openbao, made["client_token"]).json()["data"]["period"] == 3600


def test_a_batch_token_has_no_accessor_and_cannot_be_revoked(openbao: OpenBao) -> None:
    made = openbao.token(policies=["default"], type="batch", ttl="10m")
    assert (made["accessor"], made["client_token"][:2]) == ("", "b.")
    answer = openbao.node.call(openbao.root_token, "POST", "auth/token/revoke", token=made["client_token"])
    assert (answer.status_code, answer.json()) == (400, {"errors": ["batch tokens cannot be revoked"]})
    assert lookup(openbao, made["client_token"]).status_code == 200


def test_a_policy_bounds_what_its_token_may_do(openbao: OpenBao) -> None:
    openbao.policy("issuer", **{"auth/token/create": ["update"]})
    operator = openbao.token(policies=["issuer"])["client_token"]
    assert create(openbao, operator, policies=["issuer"])["policies"] == ["default", "issuer"]
    answer = openbao.node.call(operator, "POST", "auth/token/create", policies=["root"])
    assert (answer.status_code, answer.json()) == (400, {"errors": ["child policies must be subset of parent"]})
    assert openbao.node.call(operator, "LIST", "auth/token/accessors").status_code == 403
    assert openbao.node.call(operator, "POST", "auth/token/revoke-accessor", accessor="x").status_code == 403


def test_a_token_role_bounds_what_is_created_under_it(openbao: OpenBao) -> None:
    openbao.sudo("POST", "auth/token/roles/ci", allowed_policies=["reader"], orphan=True, token_explicit_max_ttl="5m")
    openbao.policy("ci-issuer", **{"auth/token/create/ci": ["update"]})
    operator = openbao.token(policies=["ci-issuer"])["client_token"]
    made = openbao.node.call(operator, "POST", "auth/token/create/ci", policies=["reader"], ttl="1h").json()
    told = lookup(openbao, made["auth"]["client_token"]).json()["data"]
    assert (told["role"], told["orphan"], told["creation_ttl"]) == ("ci", True, 300)
    refused = openbao.node.call(operator, "POST", "auth/token/create/ci", policies=["root"])
    assert refused.status_code == 400
    assert openbao.node.call(operator, "POST", "auth/token/create", policies=["default"]).status_code == 403


def test_an_app_role_logs_in_and_a_wrong_one_is_a_bad_request(openbao: OpenBao) -> None:
    role, secret = openbao.app_role("ci", "default", token_ttl="10m", secret_id_num_uses=1)
    answers = [openbao.node.call(None, "POST", "auth/approle/login", role_id=role, secret_id=secret) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 400]
    assert answers[0].json()["auth"]["lease_duration"] == 600
    assert answers[1].json() == {"errors": ["invalid role or secret ID"]}


def test_a_token_is_found_in_the_audit_log_by_its_hash(openbao: OpenBao) -> None:
    token, other = (openbao.token(policies=["default"])["client_token"] for _ in range(2))
    openbao.node.call(token, "GET", "auth/token/lookup-self")
    marks = [openbao.audit_hash(token), openbao.audit_hash(other)]
    entries = [json.loads(line)["request"] for line in openbao.node.audit_log.read_text().splitlines()]
    used = [{entry["path"] for entry in entries if entry.get("client_token") == mark} for mark in marks]
    assert used == [{"auth/token/lookup-self"}, set()]
    assert token not in openbao.node.audit_log.read_text()
    assert other not in openbao.node.audit_log.read_text()
    answer = openbao.node.call(openbao.root_token, "POST", "sys/audit-hash/unknown", input="x")
    assert answer.status_code == 400


def test_transit_signs_rotates_and_retires_old_versions(openbao: OpenBao) -> None:
    openbao.sudo("POST", "transit/keys/k", type="ecdsa-p256")
    signed = openbao.sudo("POST", "transit/sign/k", input="aGVsbG8=")["data"]["signature"]
    assert signed.startswith("vault:v1:")
    openbao.sudo("POST", "transit/keys/k/rotate")
    assert openbao.sudo("POST", "transit/verify/k", input="aGVsbG8=", signature=signed)["data"]["valid"] is True
    kept = openbao.sudo("GET", "transit/keys/k")["data"]
    assert (kept["latest_version"], sorted(kept["keys"])) == (2, ["1", "2"])
    openbao.sudo("POST", "transit/keys/k/config", min_decryption_version=2)
    assert sorted(openbao.sudo("GET", "transit/keys/k")["data"]["keys"]) == ["2"]
    answer = openbao.node.call(openbao.root_token, "POST", "transit/verify/k", input="aGVsbG8=", signature=signed)
    assert answer.status_code == 400


def test_a_quota_refuses_without_saying_when_to_come_again(openbao: OpenBao) -> None:
    openbao.sudo("POST", "sys/quotas/rate-limit/few", path="auth/token/lookup-self", rate=2, interval="30s")
    try:
        answers = [openbao.node.call(openbao.root_token, "GET", "auth/token/lookup-self") for _ in range(3)]
    finally:
        openbao.sudo("DELETE", "sys/quotas/rate-limit/few")
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "rate limit quota exceeded" in answers[2].text
    assert "retry-after" not in answers[2].headers


def test_two_servers_know_nothing_of_each_other(openbao: OpenBao, other_openbao: OpenBao) -> None:
    token = openbao.token(policies=["default"])["client_token"]
    assert lookup(other_openbao, token).status_code == 403
    assert other_openbao.node.call(openbao.root_token, "GET", "auth/token/lookup-self").status_code == 403
    assert lookup(openbao, token).status_code == 200


def test_its_certificate_is_of_the_authority_of_the_tests(openbao: OpenBao, authority: Authority) -> None:
    assert openbao.ca_file == authority.file
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{openbao.address}/v1/sys/health", trust_env=False)
