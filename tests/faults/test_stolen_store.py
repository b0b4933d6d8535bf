"""A store that is copied away, without its root secret, yields no token and no key, and confirms none that was found."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.conftest import Cli

JWT = ("--format", "jwt", "--audience", "api.example")


class Theft(NamedTuple):
    """Who was stolen from, the thief, and what the thief would like to have."""

    owner: Cli
    thief: Cli
    token: str
    jwt: str


@pytest.fixture
def theft(cli: Cli, tmp_path: Path) -> Theft:
    """Copy a store, its WAL full, while a process has it open: every file of it, and nothing else."""
    token = cli.token("--scope", "deploy")
    reader = sqlite3.connect(cli.store)
    reader.execute("BEGIN").execute("SELECT count(*) FROM token").fetchall()
    jwt = cli.token(*JWT, "--ttl", "1h")
    assert cli.store.with_name("store.db-wal").stat().st_size > 0
    thief = Cli(tmp_path / "thief")
    shutil.copytree(cli.store.parent, thief.store.parent)
    thief.home.chmod(0o700)
    reader.close()
    return Theft(cli, thief, token, jwt)


def taken(theft: Theft) -> bytes:
    """Return every byte that the thief has."""
    return b"".join(path.read_bytes() for path in sorted(theft.thief.home.rglob("*")) if path.is_file())


def content(theft: Theft) -> list[str]:
    """Return what the thief's store says; where in its files it lies may change with a checkpoint of the WAL."""
    connection = sqlite3.connect(theft.thief.store)
    said = list(connection.iterdump())
    connection.close()
    return said


COMMANDS = [
    ("issue", "--subject", "s"), ("issue", "--subject", "s", *JWT), ("inspect", "-", "--any-audience"),
    ("inspect", "-", "--use", "--any-audience"), ("list", "--state", "all"), ("revoke", "-", "--yes"), ("rotate-keys", "status"),
    ("rotate-keys", "jwks"), ("audit", "log"), ("audit", "verify"), ("store", "info"),
]  # fmt: skip


def test_without_the_root_secret_no_verb_does_anything(theft: Theft) -> None:
    before = content(theft)
    missing = theft.thief.root_secret
    for command in COMMANDS:
        done = theft.thief(*command, input=f"{theft.token}\n{theft.jwt}\n")
        told = done.out if command == ("store", "info") else ""  # where things lie, and nothing of what they hold
        assert (done.code, done.out) == (4, told), (command, done)
        assert not told or {"tokens\t-", "keys\t-", "records\t-", "root\t-"} <= set(told.splitlines())
        assert set(done.err.splitlines()) == {
            f"tokenctl: the root secret {missing} is missing", "hint: put the file back from a backup; none is made anew",
        }, command  # fmt: skip
    assert not missing.exists()
    assert content(theft) == before


def test_a_guessed_root_secret_is_told_from_the_right_one_and_does_nothing(theft: Theft) -> None:
    guess = theft.thief.root_secret
    guess.parent.mkdir(parents=True, mode=0o700)
    guess.write_bytes(os.urandom(32).hex().encode() + b"\n")
    guess.chmod(0o600)
    for directory in (guess.parent.parent, guess.parent.parent.parent):
        directory.chmod(0o700)
    before = content(theft)
    for command in COMMANDS:
        done = theft.thief(*command, input=f"{theft.token}\n{theft.jwt}\n")
        assert (done.code, done.out) == (10, ""), (command, done)
        assert "is not the root secret of" in done.err, (command, done)
    assert content(theft) == before


def test_the_right_root_secret_is_all_that_the_thief_lacks(theft: Theft) -> None:
    """The two tests above would pass for a broken copy too."""
    shutil.copytree(theft.owner.root_secret.parent.parent, theft.thief.root_secret.parent.parent)
    done = theft.thief("inspect", "-", "--any-audience", "-q", input=f"{theft.token}\n{theft.jwt}\n")
    assert (done.code, done.out) == (0, ""), done


def derived(root: bytes, label: str) -> bytes:
    """Derive a key of the store as the manual says; not by our own code."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"tokenctl/{label}/v1".encode()).derive(root)


def opened(sealed: bytes, root: bytes, store_id: str, kid: str, alg: str) -> bytes:
    """Open the sealed part of a key: ``0x01 ‖ salt32 ‖ check32 ‖ AES-256-GCM(dek, 0^96, private, aad)``."""
    aad = b"\0".join(part.encode() for part in ("tokenctl/envelope/v1", store_id, kid, alg, "1"))
    material = HKDF(algorithm=SHA256(), length=64, salt=sealed[1:33], info=aad).derive(derived(root, "kek"))
    return AESGCM(material[:32]).decrypt(bytes(12), sealed[65:], aad)


def sealed_keys(theft: Theft) -> tuple[str, list[tuple[str, str, bytes]]]:
    connection = sqlite3.connect(theft.thief.store)
    store_id = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()[0]
    keys = connection.execute("SELECT kid, alg, sealed FROM key WHERE sealed IS NOT NULL").fetchall()
    connection.close()
    return store_id, keys


def test_the_sealed_part_of_a_key_opens_with_the_root_secret_alone(theft: Theft) -> None:
    store_id, keys = sealed_keys(theft)
    root = bytes.fromhex(theft.owner.root_secret.read_text().strip())
    assert len(keys) == 1
    for kid, alg, sealed in keys:
        assert len(opened(sealed, root, store_id, kid, alg)) == 32
        for guess in (os.urandom(32), bytes(32), hashlib.sha256(store_id.encode()).digest(), root[::-1]):
            with pytest.raises(InvalidTag):
                opened(sealed, guess, store_id, kid, alg)
        for other in ((store_id, "x" * 22, alg), (store_id[::-1], kid, alg), (store_id, kid, "EdDSA")):
            with pytest.raises(InvalidTag):
                opened(sealed, root, *other)


def spellings(secret: bytes) -> dict[str, bytes]:
    """Return the ways in which a secret may lie in a file."""
    number = int.from_bytes(secret)
    return {
        "raw": secret, "reversed": secret[::-1], "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode(),
        "base64": base64.b64encode(secret).rstrip(b"="), "base64url": base64.urlsafe_b64encode(secret).rstrip(b"="),
        "decimal": str(number).encode(),
    }  # fmt: skip


def test_nothing_of_a_secret_lies_in_the_bytes(theft: Theft) -> None:
    store_id, keys = sealed_keys(theft)
    root = bytes.fromhex(theft.owner.root_secret.read_text().strip())
    text = taken(theft)
    assert keys[0][0].encode() in text  # what does lie there is found
    private = opened(keys[0][2], root, store_id, keys[0][0], keys[0][1])
    public = json.loads(theft.owner("rotate-keys", "jwks").out)["keys"][0]
    numbers = ec.derive_private_key(int.from_bytes(private), ec.SECP256R1()).public_key().public_numbers()
    assert base64.urlsafe_b64decode(public["x"] + "=") == numbers.x.to_bytes(32)
    secret = theft.token.split("_")[3]
    hidden = {"private key": private, "root secret": root}
    hidden |= {f"{label} key": derived(root, label) for label in ("pepper", "kek", "row", "head")}
    for name, value in hidden.items():
        for spelling, found in spellings(value).items():
            assert found not in text, (name, spelling)
    for part in (secret, secret[:43], secret[:16], theft.jwt, theft.jwt.rpartition(".")[2], theft.jwt.split(".")[1]):
        assert part.encode() not in text, part
    # A token that was found elsewhere is not confirmed either: no hash that needs no secret lies there.
    for said in (theft.token, secret, secret[:43], theft.jwt):
        for name in ("sha256", "sha512", "sha1", "md5", "blake2b"):
            assert hashlib.new(name, said.encode()).digest() not in text, name
        for key in (b"", store_id.encode(), bytes(32)):
            assert hmac.digest(key, said.encode(), "sha256") not in text
            assert hmac.digest(key, b"tokenctl/token/v1\0" + store_id.encode() + b"\0" + said.encode(), "sha256") not in text
    verifier = hmac.digest(
        derived(root, "pepper"), b"tokenctl/token/v1\0" + store_id.encode() + b"\0" + theft.token.encode(), "sha256"
    )
    assert verifier in text  # what the owner knows it by does lie there
