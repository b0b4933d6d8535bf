"""What a backup is once it is decrypted: a tar of three members, in this order: what it is, the root secret, the store.

Written as POSIX tar, so that any tar reads it. Read strictly: these names, plain files, the sizes that the headers say, and
nothing behind them. Nothing is ever extracted by a name.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tokenctl.errors import IntegrityError, InvalidConfiguration, InvalidRequest
from tokenctl.model.times import format_instant, parse_instant
from tokenctl.secret import Secret

VERSION = 1
_MANIFEST, _ROOT, _STORE = "manifest.json", "root", "store.db"
_BLOCK = 512  # bytes
_LARGEST_OCTAL = 8**11  # bytes; beyond it a size is written in base 256, which every tar of today reads
_MANIFEST_LIMIT = 64 * 1024  # bytes
_ROOT_LENGTH = 64  # hexadecimal digits


class Manifest(NamedTuple):
    """What a backup says of itself; ``made_at`` in milliseconds UTC.

    Attributes:
        root: Of the log; ``None`` where its head was not authentic.
    """

    store_id: str
    profile: str
    made_at: int
    schema: int
    records: int
    tokens: int
    root: str | None
    tokenctl: str
    with_keys: bool

    def to_bytes(self) -> bytes:
        members = {"format": VERSION, **self._asdict(), "made_at": format_instant(self.made_at)}
        return json.dumps(members, indent=1).encode("ascii") + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read what a backup says of itself.

        Raises:
            InvalidConfiguration: it was made by a newer tokenctl (exit 9).
            IntegrityError: it is not understood (exit 10).
        """
        try:
            members = json.loads(data)
            version = members.pop("format")
            if isinstance(version, int) and version > VERSION:
                raise InvalidConfiguration(f"the backup was made by a newer tokenctl (format {version})", hint="upgrade tokenctl")
            if version != VERSION or type(version) is not int:
                raise ValueError("an unknown format")
            known = {name: members[name] for name in cls._fields}
            manifest = cls(**known | {"made_at": parse_instant(known["made_at"], 0)})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidRequest):
            raise _foreign("its manifest is not understood") from None
        texts = (manifest.store_id, manifest.profile, manifest.root if manifest.root is not None else "", manifest.tokenctl)
        numbers = (manifest.schema, manifest.records, manifest.tokens)
        plain = all(isinstance(text, str) and text.isprintable() and len(text) <= 200 for text in texts)
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if not plain or not whole or type(manifest.with_keys) is not bool:
            raise _foreign("its manifest is not understood")
        return manifest


def _foreign(why: str) -> IntegrityError:
    return IntegrityError(f"the file is no backup that tokenctl made: {why}", hint="take another copy of it")


class Packed:
    """A backup's bytes, read as a stream: the store from a descriptor, the rest from memory.

    Raises:
        OSError: the store's copy cannot be read, or changed its size.
    """

    def __init__(self, manifest: Manifest, root: Secret | None, store: int, size: int) -> None:
        self._parts = self._blocks(manifest, root, store, size)
        self._kept = b""

    def read(self, size: int = -1) -> bytes:
        wanted = size if size >= 0 else 2**63
        parts, length = [self._kept], len(self._kept)
        while length < wanted:
            part = next(self._parts, b"")
            if not part:
                break
            parts.append(part)
            length += len(part)
        data = b"".join(parts)
        self._kept = data[wanted:]
        return data[:wanted]

    def _blocks(self, manifest: Manifest, root: Secret | None, store: int, size: int) -> Iterator[bytes]:
        import os

        at = manifest.made_at // 1000
        yield _member(_MANIFEST, manifest.to_bytes(), at)
        if root is not None:
            yield _member(_ROOT, root.reveal().hex().encode("ascii") + b"\n", at)
        yield _header(_STORE, size, at)
        left = size
        while left:
            part = os.read(store, min(left, 1024 * 1024))
            if not part:
                raise OSError("the copy of the store was cut")
            left -= len(part)
            yield part
        yield _padding(size) + bytes(2 * _BLOCK)


def _header(name: str, size: int, at: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, at
    return member.tobuf(tarfile.USTAR_FORMAT if size < _LARGEST_OCTAL else tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _member(name: str, data: bytes, at: int) -> bytes:
    return _header(name, len(data), at) + data + _padding(len(data))


class Unpacked:
    """Takes a backup's bytes as they arrive: hostile until proven.

    Args:
        begin: Told the manifest and the size of the store in bytes before the first byte of it; may refuse.
        store: Takes the bytes of the store.

    Attributes:
        manifest: What the backup says of itself, once it is known.
        root: The root secret, where the backup holds it.

    Raises:
        IntegrityError: not a backup (exit 10).
    """

    def __init__(self, begin: Callable[[Manifest, int], None], store: Callable[[bytes], None]) -> None:
        self.manifest: Manifest | None = None
        self.root: Secret | None = None
        self._begin = begin
        self._store = store
        self._kept = bytearray()
        self._name = ""
        self._left = 0  # bytes of the member at hand
        self._skip = 0  # bytes of padding behind it
        self._over = False

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            if self._over:
                if any(view):
                    raise _foreign("something follows behind its end")
                break
            if self._name == _STORE and self._left:
                part, view = view[: self._left], view[self._left :]
                self._store(bytes(part))
                self._left -= len(part)
                continue
            wanted = (self._left or self._skip or _BLOCK) - len(self._kept)
            self._kept += view[:wanted]
            view = view[wanted:]
            if len(self._kept) == (self._left or self._skip or _BLOCK):
                self._take(bytes(self._kept))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def _take(self, data: bytes) -> None:
        self._kept.clear()
        if self._left:
            self._left = 0
            self._read_member(data)
        elif self._skip:
            self._skip = 0
        elif data == bytes(_BLOCK):
            if self._name != _STORE:
                raise _foreign("it holds no store")
            self._over = True
        else:
            self._read_header(data)

    def _read_header(self, data: bytes) -> None:
        try:
            member = tarfile.TarInfo.frombuf(data, "ascii", "strict")
        except (tarfile.HeaderError, ValueError):
            raise _foreign("it is no tar") from None
        followers = {"": (_MANIFEST,), _MANIFEST: (_ROOT, _STORE), _ROOT: (_STORE,), _STORE: ()}[self._name]
        if member.type != tarfile.REGTYPE or member.name not in followers or member.linkname:
            raise _foreign("an unexpected member is in it")
        limits = {_MANIFEST: range(2, _MANIFEST_LIMIT), _ROOT: range(_ROOT_LENGTH + 1, _ROOT_LENGTH + 2)}
        if member.size <= 0 or (member.name in limits and member.size not in limits[member.name]):
            raise _foreign(f"the size of its {member.name} is not one that it can have")
        if member.name == _STORE:
            assert self.manifest is not None
            if self.manifest.with_keys is not (self.root is not None):
                raise _foreign("its manifest says otherwise of the root secret")
            self._begin(self.manifest, member.size)
        self._name, self._left, self._skip = member.name, member.size, -member.size % _BLOCK

    def _read_member(self, data: bytes) -> None:
        if self._name == _MANIFEST:
            self.manifest = Manifest.from_bytes(data)
        else:
            text = data.removesuffix(b"\n")
            if len(text) != _ROOT_LENGTH or not set(text) <= set(b"0123456789abcdef"):
                raise _foreign("its root secret is none")
            self.root = Secret(bytes.fromhex(text.decode("ascii")))

    def end(self) -> Manifest:
        """Return the manifest of what arrived whole; raises IntegrityError where it did not (exit 10)."""
        if not self._over or self.manifest is None:
            raise _foreign("it was cut")
        return self.manifest
