"""What is derived from the root secret of a store, and the envelope around private signing keys.

One 32-byte root secret a store; each rotation of it makes a new version of all that is derived.
"""

import hmac
import os
from typing import NamedTuple

from tokenctl.errors import IntegrityError
from tokenctl.secret import Secret

ROOT_LENGTH = 32  # bytes
FIRST_VERSION = 1
_ENVELOPE = b"\x01"
_HASH_LENGTH = 32  # bytes


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """Derive key material. Source: RFC 5869, with SHA-256."""
    extracted = hmac.digest(salt or bytes(_HASH_LENGTH), secret, "sha256")
    block, output = b"", b""
    for counter in range(1, -(-length // _HASH_LENGTH) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


class Keys(NamedTuple):
    """The keys of one version of a store: for verifiers of opaque tokens, for private keys, for rows, for the head."""

    pepper: bytes
    kek: bytes
    row: bytes
    head: bytes
    version: int

    def __repr__(self) -> str:
        return "Keys(***)"


def derive(root: Secret, version: int) -> Keys:
    """Derive a store's keys from its root secret; the version counts the secrets that the store has had."""
    pepper, kek, row, head = (
        hkdf(root.reveal(), b"", f"tokenctl/{label}/v{version}".encode(), ROOT_LENGTH)
        for label in ("pepper", "kek", "row", "head")
    )  # fmt: skip
    return Keys(pepper, kek, row, head, version)


def check_value(root: Secret, store_id: str) -> bytes:
    """Return what the store keeps to tell its root secret from another."""
    return hmac.digest(root.reveal(), f"tokenctl/check/v1\0{store_id}".encode(), "sha256")


def verifier(pepper: bytes, store_id: str, text: Secret) -> bytes:
    """Return what the store keeps of an opaque token."""
    return hmac.digest(pepper, b"tokenctl/token/v1\0" + store_id.encode() + b"\0" + text.reveal(), "sha256")


# Private signing keys


def seal(keys: Keys, store_id: str, kid: str, alg: str, private: bytes) -> bytes:
    """Wrap a private key: ``0x01 ‖ salt32 ‖ check32 ‖ AES-256-GCM(dek, 0^96, private, aad)``.

    The data key is used once, so its nonce may be zero; ``check`` commits to the key-encryption key.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    aad = _associated(keys, store_id, kid, alg)
    salt = os.urandom(_HASH_LENGTH)
    material = hkdf(keys.kek, salt, aad, 2 * _HASH_LENGTH)
    sealed = AESGCM(material[:_HASH_LENGTH]).encrypt(bytes(12), private, aad)
    return _ENVELOPE + salt + material[_HASH_LENGTH:] + sealed


def unseal(keys: Keys, store_id: str, kid: str, alg: str, envelope: bytes) -> Secret:
    """Open a private key.

    Raises:
        IntegrityError: the envelope was changed, or belongs to another key or store (exit 10).
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    aad = _associated(keys, store_id, kid, alg)
    salt, check, sealed = envelope[1:33], envelope[33:65], envelope[65:]
    material = hkdf(keys.kek, salt, aad, 2 * _HASH_LENGTH)
    broken = IntegrityError(f"the sealed key {kid} does not check out", hint="tokenctl audit verify")
    if envelope[:1] != _ENVELOPE or not hmac.compare_digest(check, material[_HASH_LENGTH:]):
        raise broken
    try:
        return Secret(AESGCM(material[:_HASH_LENGTH]).decrypt(bytes(12), sealed, aad))
    except InvalidTag:
        raise broken from None


def _associated(keys: Keys, store_id: str, kid: str, alg: str) -> bytes:
    return b"\0".join(part.encode() for part in ("tokenctl/envelope/v1", store_id, kid, alg, str(keys.version)))
