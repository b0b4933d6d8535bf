"""``rotate-keys`` over the transit engine of a real OpenBao: what it has of it, and what it lacks."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from tests.at_openbao import AtOpenBao
from tests.conftest import Cli
from tests.servers.authority import Authority
from tests.servers.breaker import LOSE, Passage, breaking
from tests.servers.openbao import OpenBao
from tests.stub import Request

MOUNT = "signing"


@pytest.fixture
def vault(cli: Cli, openbao: OpenBao) -> Iterator[AtOpenBao]:
    openbao.sudo("POST", f"sys/mounts/{MOUNT}", type="transit")
    yield AtOpenBao(cli, openbao, transit_mount=MOUNT)
    openbao.sudo("DELETE", f"sys/mounts/{MOUNT}")


def make(vault: AtOpenBao, name: str, kind: str) -> None:
    vault.server.sudo("POST", f"{MOUNT}/keys/{name}", type=kind)


def listed(vault: AtOpenBao) -> list[tuple[object, ...]]:
    done = vault("rotate-keys", "status", "-o", "json")
    assert done.code == 0, done.err
    return [(key["kid"], key["alg"], key["state"], key["tokens"], key["retire_after"]) for key in done.json["keys"]]


def signature(vault: AtOpenBao, name: str, text: bytes) -> bytes:
    given = {"input": base64.b64encode(text).decode(), "marshaling_algorithm": "jws"}
    told = vault.server.sudo("POST", f"{MOUNT}/sign/{name}", **given)["data"]["signature"]
    return base64.urlsafe_b64decode(told.split(":")[2] + "==")


def test_a_version_signs_retires_by_name_and_is_destroyed(vault: AtOpenBao, openbao: OpenBao) -> None:
    make(vault, "jwt", "ecdsa-p256")
    make(vault, "disk", "aes256-gcm96")  # signs nothing
    assert listed(vault) == [("jwt.v1", "ES256", "active", None, None)]
    assert vault("rotate-keys", "--check").code == 0
    done = vault("rotate-keys", "--if-older-than", "0s", "-o", "json")
    assert done.code == 0, done.err
    assert [(step["action"], step["kid"]) for step in done.json["did"]] == [("activate", "jwt.v2"), ("retiring", "jwt.v1")]
    assert listed(vault) == [("jwt.v1", "ES256", "retiring", None, None), ("jwt.v2", "ES256", "active", None, None)]
    plain = vault("rotate-keys", "status").out.splitlines()
    assert [line.split("\t")[:3] + line.split("\t")[4:5] for line in plain] == [
        ["jwt.v1", "ES256", "retiring", "-"], ["jwt.v2", "ES256", "active", "-"],
    ]  # fmt: skip
    assert vault("rotate-keys", "retire", "jwt.v2").code == 6
    assert vault("rotate-keys", "retire", "jwt.v1").code == 0
    assert listed(vault) == [("jwt.v2", "ES256", "active", None, None)]
    told = openbao.sudo("GET", f"{MOUNT}/keys/jwt")["data"]
    assert (told["min_decryption_version"], told["min_available_version"], sorted(told["keys"])) == (2, 2, ["2"])
    assert vault("rotate-keys", "retire", "jwt.v1").code == 5
    assert [record[1:] for record in vault.records() if record[0] == "remote.outcome"] == [
        ("rotate_key", "done"), ("retire_key", "done"), ("destroy_key", "done"),
    ]  # fmt: skip
    assert vault("audit", "verify").code == 0


def test_an_older_version_goes_first(vault: AtOpenBao) -> None:
    make(vault, "jwt", "ed25519")
    for _ in range(2):
        assert vault("rotate-keys", "--if-older-than", "0s", "-q").code == 0
    done = vault("rotate-keys", "retire", "jwt.v2")
    assert done.code == 6
    assert "jwt.v2 is retired after jwt.v1" in done.err
    assert [key[:3] for key in listed(vault)] == [
        ("jwt.v1", "EdDSA", "retiring"), ("jwt.v2", "EdDSA", "retiring"), ("jwt.v3", "EdDSA", "active"),
    ]  # fmt: skip


def test_only_the_algorithm_that_is_named_is_rotated(vault: AtOpenBao) -> None:
    make(vault, "a", "ecdsa-p256")
    make(vault, "b", "rsa-2048")
    make(vault, "c", "ecdsa-p256")
    assert vault("rotate-keys", "--algorithm", "ES256", "--if-older-than", "0s", "-q").code == 0
    assert [key[0] for key in listed(vault) if key[2] == "active"] == ["a.v2", "b.v1", "c.v2"]
    done = vault("rotate-keys", "--algorithm", "EdDSA")
    assert done.code == 9
    assert f"bao write -f {MOUNT}/keys/NAME type=TYPE" in done.err


@pytest.mark.parametrize(("kind", "algorithm"), [("ecdsa-p256", "ES256"), ("ed25519", "EdDSA"), ("rsa-2048", None)])
def test_the_key_set_verifies_what_the_engine_signs(vault: AtOpenBao, kind: str, algorithm: str | None) -> None:
    import jwt as pyjwt

    make(vault, "jwt", kind)
    (key,) = vault("rotate-keys", "jwks").json["keys"]
    assert (key["kid"], key.get("alg"), key["use"]) == ("jwt.v1", algorithm, "sig")
    name = algorithm or "PS256"
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": name}, {"sub": "s"}))
    signing = head + b"." + body
    given = {"input": base64.b64encode(signing).decode(), "marshaling_algorithm": "jws"}
    if algorithm is None:
        given |= {"hash_algorithm": "sha2-256", "signature_algorithm": "pss", "salt_length": "hash"}
    told = vault.server.sudo("POST", f"{MOUNT}/sign/jwt", **given)["data"]["signature"].split(":")[2]
    written = told.rstrip("=").translate(str.maketrans("+/", "-_"))
    token = f"{signing.decode()}.{written}"
    assert pyjwt.decode(token, pyjwt.PyJWK({**key, "alg": name}).key, algorithms=[name]) == {"sub": "s"}


def test_what_transit_lacks_is_refused_with_the_nearest_thing(vault: AtOpenBao) -> None:
    make(vault, "jwt", "ecdsa-p256")
    rolled = vault("rotate-keys", "rollback")
    assert (rolled.code, rolled.out) == (9, "")
    assert "goes back to no version" in rolled.err
    for arguments in (["--compromised", "jwt.v1"], ["--compromised", "jwt.v1", "--dry-run"]):
        done = vault("rotate-keys", *arguments)
        assert (done.code, done.out) == (9, "")
        assert "keeps no account of what a key signed" in done.err
        assert "rotate-keys retire jwt.v1" in done.err
    assert [key[0] for key in listed(vault)] == ["jwt.v1"]


def test_a_profile_without_a_mount_shows_no_keys(cli: Cli, openbao: OpenBao) -> None:
    done = AtOpenBao(cli, openbao)("rotate-keys", "status")
    assert (done.code, done.out) == (9, "")
    assert "shows and changes none of its signing keys" in done.err
    wrong = AtOpenBao(cli, openbao, name="wrong", transit_mount="nothing")("rotate-keys", "status")
    assert (wrong.code, wrong.out) == (9, "")
    assert "is no transit engine" in wrong.err


def test_a_rotation_without_rights_changes_nothing(vault: AtOpenBao, openbao: OpenBao) -> None:
    make(vault, "jwt", "ecdsa-p256")
    openbao.policy("looker", **{f"{MOUNT}/keys": ["list"], f"{MOUNT}/keys/*": ["read"]})
    vault.hand_in(openbao.token(policies=["looker"])["client_token"])
    done = vault("rotate-keys", "--if-older-than", "0s")
    assert done.code == 4, done.err
    assert f"may not change {MOUNT}/keys/jwt/rotate" in done.err
    assert [key[0] for key in listed(vault)] == ["jwt.v1"]
    assert ("remote.outcome", "rotate_key", "failed") in vault.records()


def test_a_rotation_whose_answer_is_lost_is_settled_by_what_is_there(
    vault: AtOpenBao, openbao: OpenBao, authority: Authority
) -> None:
    import time

    make(vault, "jwt", "ecdsa-p256")

    def choosing(request: Request, _: int) -> Passage:
        return LOSE if request.path.endswith("/rotate") else Passage.PASS

    with breaking(openbao.address, authority, choosing) as breaker:
        between = AtOpenBao(vault.cli, openbao, address=breaker.url.rstrip("/"), transit_mount=MOUNT)
        done = between("rotate-keys", "--if-older-than", "0s", "--timeout", "3s")
        assert done.code == 7, done.err
        assert "whether it was done is not known" in done.err
        assert sum(request.path.endswith("/rotate") for request in breaker.passed) == 1
    vault = AtOpenBao(vault.cli, openbao, transit_mount=MOUNT)
    assert [key[0] for key in listed(vault)] == ["jwt.v1", "jwt.v2"]
    later = time.time_ns() // 1_000_000 + 6 * 60_000
    settled = vault.cli.at(later, "audit", "reconcile", "-p", "vault", "--credential-file", str(vault.credential))
    assert [line.split("\t")[:3] for line in settled.out.splitlines()] == [["jwt.v2", "rotate_key intent", "done"]]
