"""Signed notes and checkpoints: what leaves a store to bear witness of its log.

Sources: C2SP signed-note, C2SP tlog-checkpoint, RFC 8032 for the signatures.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tokenctl.errors import IntegrityError, InvalidRequest
from tokenctl.secret import Secret

MAX_NOTE = 256 * 1024  # bytes: sixteen signatures of the longest post-quantum kind must fit
_MAX_SIGNATURES = 64
_ED25519 = b"\x01"  # the signature type
_ID_LENGTH = 4
_PUBLIC_LENGTH = 32
_SIGNATURE_LENGTH = 64
_ROOT_LENGTH = 32
_DASH = "\u2014"
_NAME = re.compile(r"[^\s+]{1,256}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class VerifierKey(NamedTuple):
    """A public key of a log, by the name that it signs under."""

    name: str
    public: bytes

    @property
    def identifier(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_LENGTH]

    def __str__(self) -> str:
        return f"{self.name}+{self.identifier.hex()}+{encoded(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a verifier key as a line of text.

        Raises:
            InvalidRequest: it is none, or not of Ed25519 (exit 2).
        """
        fault = InvalidRequest("this is no verifier key of a log", hint="NAME+HASH+KEY: tokenctl audit checkpoint --key")
        name, _, rest = text.strip().partition("+")
        identifier, _, encoded = rest.partition("+")
        material = decoded(encoded)
        if not _NAME.fullmatch(name) or material is None or material[:1] != _ED25519 or len(material) != 1 + _PUBLIC_LENGTH:
            raise fault
        key = cls(name, material[1:])
        if identifier != key.identifier.hex():
            raise fault
        return key


class Signature(NamedTuple):
    """A line under a note: who says to have signed, the key's identifier, and the signature."""

    name: str
    identifier: bytes
    value: bytes


class Note(NamedTuple):
    """A text, which ends in a newline, and the signatures under it; not verified by being one."""

    text: str
    signatures: tuple[Signature, ...]

    def signed_by(self, keys: Iterable[VerifierKey]) -> VerifierKey | None:
        """Return the first of these keys that signed it; ``None`` where none of them did.

        Raises:
            IntegrityError: a signature under the name of one of them is wrong (exit 10).
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        found: VerifierKey | None = None
        for key in keys:
            for signature in self.signatures:
                if (signature.name, signature.identifier) != (key.name, key.identifier):
                    continue
                try:
                    Ed25519PublicKey.from_public_bytes(key.public).verify(signature.value, self.text.encode())
                except (InvalidSignature, ValueError):
                    raise IntegrityError(f"the signature of {key.name} does not fit the text that it stands under") from None
                found = found or key
        return found


class Checkpoint(NamedTuple):
    """What a log looked like: its origin, how many records it had, and the root of the tree over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{encoded(self.root)}\n"


def parse_note(data: bytes) -> Note:
    """Read a signed note.

    Raises:
        InvalidRequest: it is none (exit 2).
    """
    if len(data) > MAX_NOTE:
        raise InvalidRequest(f"a signed note is at most {MAX_NOTE // 1024} KiB")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _no_note("it is not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise _no_note("control characters are in it")
    text, separator, below = whole.rpartition("\n\n")
    if not separator or not text or not below.endswith("\n"):
        raise _no_note("no signature stands under it")
    lines = below[:-1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise _no_note(f"more than {_MAX_SIGNATURES} signatures stand under it")
    return Note(text + "\n", tuple(map(_signature, lines)))


def _signature(line: str) -> Signature:
    parts = line.split(" ")
    value = decoded(parts[2]) if len(parts) == 3 else None
    if value is None or parts[0] != _DASH or not _NAME.fullmatch(parts[1]) or len(value) <= _ID_LENGTH:
        raise _no_note("a line under it is no signature")
    return Signature(parts[1], value[:_ID_LENGTH], value[_ID_LENGTH:])


def parse_checkpoint(data: bytes) -> tuple[Checkpoint, Note]:
    """Read a checkpoint without believing it.

    Raises:
        InvalidRequest: it is none (exit 2).
    """
    note = parse_note(data)
    origin, size, root, *extensions = note.text[:-1].split("\n") if note.text.count("\n") >= 3 else ("", "", "")
    digest = decoded(root)
    if not origin or not _SIZE.fullmatch(size) or digest is None or len(digest) != _ROOT_LENGTH or not all(extensions):
        raise InvalidRequest("this is no checkpoint of a log", hint="tokenctl audit checkpoint makes one")
    return Checkpoint(origin, int(size), digest), note


def open_checkpoint(data: bytes, keys: Sequence[VerifierKey]) -> Checkpoint | None:
    """Return what a checkpoint says, where one of these keys signed it; ``None`` where none of them did.

    Raises:
        InvalidRequest: it is no checkpoint (exit 2).
        IntegrityError: a signature under the name of one of them is wrong (exit 10).
    """
    checkpoint, note = parse_checkpoint(data)
    own = [key for key in keys if key.name == checkpoint.origin]
    return checkpoint if note.signed_by(own) is not None else None


def sign(text: str, keys: Sequence[tuple[VerifierKey, Secret]]) -> str:
    """Return a note signed by each of these keys, in this order. Source: RFC 8032.

    Args:
        text: Ends in a newline.
        keys: Each with its private part, the seed of 32 bytes.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    lines = []
    for key, seed in keys:
        value = Ed25519PrivateKey.from_private_bytes(seed.reveal()).sign(text.encode())
        lines.append(f"{_DASH} {key.name} {encoded(key.identifier + value)}\n")
    return f"{text}\n{''.join(lines)}"


def fresh(name: str) -> tuple[VerifierKey, Secret]:
    """Make a key of this name; return its public part and the seed of its private one. Source: RFC 8032."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    return VerifierKey(name, private.public_key().public_bytes_raw()), Secret(private.private_bytes_raw())


def belongs(seed: Secret, key: VerifierKey) -> bool:
    """Whether a seed is the private part of a key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed.reveal()).public_key().public_bytes_raw() == key.public


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def decoded(text: str) -> bytes | None:
    """Return what canonical base64 holds; ``None`` for any other text. Source: RFC 4648 section 4."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if encoded(data) == text else None


def _no_note(why: str) -> InvalidRequest:
    return InvalidRequest(f"this is no signed note: {why}")
