"""The root secret of a store, the keys derived from it, and the envelope around private signing keys.

One 32-byte root secret a store. Its place and a check value are recorded in the store at creation and never guessed again:
a missing or other secret ends the command, it never makes a new one.
"""

import hmac
import os
from typing import NamedTuple

from tokenctl import files
from tokenctl.errors import AccessDenied, IntegrityError, InvalidConfiguration
from tokenctl.secret import Secret

ROOT_LENGTH = 32  # bytes
VERSION = 1
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
    """The keys of one store: for verifiers of opaque tokens, for private keys, for rows, for the head."""

    pepper: bytes
    kek: bytes
    row: bytes
    head: bytes

    def __repr__(self) -> str:
        return "Keys(***)"


def derive(root: Secret) -> Keys:
    """Derive a store's keys from its root secret."""
    return Keys(
        *(
            hkdf(root.reveal(), b"", f"tokenctl/{label}/v{VERSION}".encode(), ROOT_LENGTH)
            for label in ("pepper", "kek", "row", "head")
        )
    )


def check_value(root: Secret, store_id: str) -> bytes:
    """Return what the store keeps to tell its root secret from another."""
    return hmac.digest(root.reveal(), f"tokenctl/check/v1\0{store_id}".encode(), "sha256")


def verifier(keys: Keys, store_id: str, text: Secret) -> bytes:
    """Return what the store keeps of an opaque token."""
    return hmac.digest(keys.pepper, b"tokenctl/token/v1\0" + store_id.encode() + b"\0" + text.reveal(), "sha256")


# The place "file"


def read_root(path: str) -> Secret:
    """Read the root secret of an existing store.

    Raises:
        AccessDenied: it is not there (exit 4).
        InvalidConfiguration: the file is too open or planted (exit 9).
        IntegrityError: the file holds no root secret (exit 10).
    """
    data = files.read_owned(path, limit=256, secret=True)
    if data is None:
        raise AccessDenied(f"the root secret {path} is missing", hint="put the file back from a backup; none is made anew")
    files.check_parents(os.path.dirname(path))
    root = _parse(data)
    if root is None:
        raise IntegrityError(f"{path} holds no root secret", hint="put the file back from a backup")
    return root


def _parse(data: bytes) -> Secret | None:
    text = data.removesuffix(b"\n")
    if len(text) != 2 * ROOT_LENGTH or not set(text) <= set(b"0123456789abcdef"):
        return None
    return Secret(bytes.fromhex(text.decode("ascii")))


def make_root(path: str) -> tuple[Secret, bool]:
    """Make the root secret while no store exists; called under the lock.

    A whole secret left by a first run that died before its store had a name is taken; a cut one is written anew.

    Returns:
        The secret, read back, and whether it was made now.

    Raises:
        InvalidConfiguration: the file cannot be made or read (exit 9).
        TemporarilyUnavailable: the medium is full (exit 7).
    """
    files.make_directory(os.path.dirname(path))
    data = files.read_owned(path, limit=256, secret=True)
    root = _parse(data) if data is not None else None
    if root is not None:
        return root, False
    try:
        if data is not None:
            os.unlink(path)
        _write_new(path, Secret(os.urandom(ROOT_LENGTH)))
    except OSError as error:
        raise files.unusable(path, error) from None
    return read_root(path), True


def write_root(path: str, root: Secret) -> None:
    """Write the root secret of a restored store where there is none; raises as :func:`make_root`."""
    files.make_directory(os.path.dirname(path))
    try:
        _write_new(path, root)
    except OSError as error:
        raise files.unusable(path, error) from None


def _write_new(path: str, root: Secret) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, files.PRIVATE_FILE)
    try:
        files.write_all(descriptor, root.reveal().hex().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    files.sync_directory(os.path.dirname(path))


# Private signing keys


def seal(keys: Keys, store_id: str, kid: str, alg: str, private: bytes) -> bytes:
    """Wrap a private key: ``0x01 ‖ salt32 ‖ check32 ‖ AES-256-GCM(dek, 0^96, private, aad)``.

    The data key is used once, so its nonce may be zero; ``check`` commits to the key-encryption key.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    aad = _associated(store_id, kid, alg)
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

    aad = _associated(store_id, kid, alg)
    salt, check, sealed = envelope[1:33], envelope[33:65], envelope[65:]
    material = hkdf(keys.kek, salt, aad, 2 * _HASH_LENGTH)
    broken = IntegrityError(f"the sealed key {kid} does not check out", hint="tokenctl audit verify")
    if envelope[:1] != _ENVELOPE or not hmac.compare_digest(check, material[_HASH_LENGTH:]):
        raise broken
    try:
        return Secret(AESGCM(material[:_HASH_LENGTH]).decrypt(bytes(12), sealed, aad))
    except InvalidTag:
        raise broken from None


def _associated(store_id: str, kid: str, alg: str) -> bytes:
    return b"\0".join(part.encode() for part in ("tokenctl/envelope/v1", store_id, kid, alg, str(VERSION)))


def place_of(recorded: object) -> str:
    """Return the recorded place of a root secret, where this version can read it.

    Raises:
        InvalidConfiguration: a place this version does not know (exit 9).
    """
    if recorded != "file":
        raise InvalidConfiguration("the store's root secret lies in a place this tokenctl does not know", hint="upgrade it")
    return "file"
