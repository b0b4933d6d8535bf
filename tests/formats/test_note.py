"""Signed notes and checkpoints, against the specifications' own examples and a verifier written from their text alone."""

from __future__ import annotations

import base64
import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tokenctl.errors import IntegrityError, InvalidRequest
from tokenctl.formats import note
from tokenctl.formats.note import Checkpoint, VerifierKey
from tokenctl.secret import Secret

# https://c2sp.org/signed-note@v1.0.0, "Example"
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# https://c2sp.org/tlog-checkpoint, its first example; its key is not told.
EXAMPLE_CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
ORIGIN = "tokenctl/0352Ldy4SKzRSvwVvSWvL6"


def made(name: str = ORIGIN) -> tuple[VerifierKey, Secret]:
    private = Ed25519PrivateKey.from_private_bytes(seed := os.urandom(32))
    return VerifierKey(name, private.public_key().public_bytes_raw()), Secret(seed)


def signed(size: int = 7, *keys: tuple[VerifierKey, Secret]) -> bytes:
    return note.sign(Checkpoint(ORIGIN, size, bytes(range(32))).text, keys).encode()


def independent(data: bytes, vkey: str) -> str:
    """Verify a note by the words of the specification alone; return its text."""
    name, identifier, material = vkey.split("+", 2)
    public = base64.b64decode(material)
    assert hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex() == identifier
    text, _, lines = data.decode().rpartition("\n\n")
    for line in lines.splitlines():
        dash, who, value = line.split(" ")
        raw = base64.b64decode(value)
        if (dash, who, raw[:4].hex()) == ("\u2014", name, identifier):
            Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], (text + "\n").encode())
            return text + "\n"
    raise AssertionError("not signed by this key")


def test_the_specifications_note_verifies():
    key = VerifierKey.parse(EXAMPLE_KEY)
    assert str(key) == EXAMPLE_KEY
    assert note.parse_note(EXAMPLE.encode()).signed_by([key]) == key
    with pytest.raises(IntegrityError):
        note.parse_note(EXAMPLE.replace("example message", "exemple message").encode()).signed_by([key])


def test_the_specifications_checkpoint_is_read():
    checkpoint, _ = note.parse_checkpoint(EXAMPLE_CHECKPOINT.encode())
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert f"{EXAMPLE_CHECKPOINT.partition('— ')[0]}" == checkpoint.text + "\n"
    assert note.open_checkpoint(EXAMPLE_CHECKPOINT.encode(), [VerifierKey.parse(EXAMPLE_KEY)]) is None


def test_what_is_signed_here_verifies_by_the_specification():
    key, seed = made()
    data = signed(7, (key, seed))
    assert independent(data, str(key)) == f"{ORIGIN}\n7\n{base64.b64encode(bytes(range(32))).decode()}\n"
    assert note.open_checkpoint(data, [key]) == Checkpoint(ORIGIN, 7, bytes(range(32)))
    other = made()
    both = signed(8, (key, seed), other)
    assert independent(both, str(key)) == independent(both, str(other[0]))
    assert note.open_checkpoint(both, [other[0]]) == note.open_checkpoint(both, [key, other[0]])


def test_signatures_of_unknown_keys_are_ignored():
    key, seed = made()
    stranger, namesake = made("elsewhere.example/log"), made()
    data = signed(7, stranger, namesake, (key, seed))
    assert note.open_checkpoint(data, [key]) is not None
    assert note.open_checkpoint(signed(7, stranger, namesake), [key]) is None
    # A key of another name does not speak for this origin, even where it signed.
    assert note.open_checkpoint(data, [stranger[0]]) is None


def test_sixteen_signatures_as_long_as_post_quantum_ones_are_read():
    key, seed = made()
    line = f"\u2014 witness.example {base64.b64encode(os.urandom(4 + 5_000)).decode()}\n"
    data = signed(7, (key, seed)) + 15 * line.encode()
    assert note.open_checkpoint(data, [key]) == Checkpoint(ORIGIN, 7, bytes(range(32)))


def test_no_byte_of_a_checkpoint_can_be_changed_and_believed():
    key, seed = made()
    data = signed(1234567, (key, seed))
    for place in range(len(data)):
        for flip in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[place] ^= flip
            try:
                opened = note.open_checkpoint(bytes(changed), [key])
            except (InvalidRequest, IntegrityError):
                continue
            assert opened is None, (place, flip)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text + "\n",
        lambda text: text.replace("\n\n", "\n"),
        lambda text: text.replace("\u2014", "-"),
        lambda text: text.replace("\n7\n", "\n07\n"),
        lambda text: text.replace("\n7\n", "\n+7\n"),
        lambda text: text.replace("\n7\n", "\n\u0667\n"),
        lambda text: text.replace("\n7\n", "\n-7\n"),
        lambda text: text.replace("\n7\n", "\n"),
        lambda text: text.replace("=\n\n", "\n\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(ORIGIN, ORIGIN + "\0", 1),
        lambda text: text.replace("\u2014 ", "\u2014  "),
        lambda text: text.partition("\n\n")[0] + "\n\n",
        lambda text: text + text.partition("\n\n")[2] * 64,
        lambda text: text.replace(ORIGIN, "x" * 270_000, 1),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(spoil):
    text = signed(7, made()).decode()
    with pytest.raises(InvalidRequest):
        note.parse_checkpoint(spoil(text).encode())


@pytest.mark.parametrize(
    "text",
    ["", "x", "a+b", EXAMPLE_KEY[:-1], EXAMPLE_KEY.replace("530", "531"), EXAMPLE_KEY.replace("+Aek", "+Bek"), " +530d903a+AA=="],
)
def test_what_is_no_verifier_key_is_refused(text):
    with pytest.raises(InvalidRequest):
        VerifierKey.parse(text)
