"""The file that bodies of old records are moved to: written once, and proved by itself before anything of it is believed.

Lines of ASCII, each ended by a newline: ``tokenctl-archive/v1 STORE``; then for each record its number, a space and its body,
byte for byte, in the order of the numbers; then ``end COUNT SHA256``, the hash being that of every byte before that line.
Source: tokenctl-log(5).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Protocol

from tokenctl import files
from tokenctl.errors import IntegrityError, InvalidRequest

MAGIC = "tokenctl-archive/v1"
_HEADER = re.compile(rb"tokenctl-archive/v1 ([0-9A-Za-z]{22})\n")
_LINE = re.compile(rb"([1-9][0-9]{0,18}) (\{[ -~]*\})\n")
_TRAILER = re.compile(rb"end (0|[1-9][0-9]{0,18}) ([0-9a-f]{64})\n")
_PIECE = 1024 * 1024  # bytes read at once
_LONGEST = 4 * 1024 * 1024  # bytes of a line
_STEP = 32  # lines between two whose place is remembered


class Sink(Protocol):
    """What takes the bytes of a file in parts."""

    def append(self, data: bytes) -> None: ...


class Summary(NamedTuple):
    """What was written: how many bodies, the numbers of the first and the last, the size, and the SHA-256 of the whole file."""

    bodies: int
    first: int
    last: int
    size: int
    digest: str


class Writer:
    """Writes an archive into a sink, in parts."""

    def __init__(self, sink: Sink, store_id: str) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self._count = self._first = self._last = self._size = 0
        self._parts: list[bytes] = []
        self._held = 0
        self._put(f"{MAGIC} {store_id}\n".encode("ascii"))

    def add(self, seq: int, body: bytes) -> None:
        """Add a record's body; the numbers rise."""
        self._count, self._first, self._last = self._count + 1, self._first or seq, seq
        self._put(b"%d %s\n" % (seq, body))

    def finish(self) -> Summary:
        self._flush()
        self._put(f"end {self._count} {self._hash.hexdigest()}\n".encode("ascii"))
        self._flush()
        return Summary(self._count, self._first, self._last, self._size, self._hash.hexdigest())

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self._held += len(data)
        if self._held >= _PIECE:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._parts)
        self._hash.update(data)
        self._sink.append(data)
        self._size += len(data)
        self._parts, self._held = [], 0


class Archive:
    """An archive that was read through and is whole in itself.

    Attributes:
        path: As it was named.
        store_id: The store whose records are in it.
        count: How many.
        first, last: The numbers of the first and the last; zeros for none.
        digest: The SHA-256 of the whole file, in hex.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._numbers, self._places = array("Q"), array("Q")
        self._block: dict[int, bytes] = {}
        self._block_at = -1
        self.store_id = ""
        self.count = self.first = self.last = 0
        self.digest = ""
        self._end = 0
        self._prove()

    @classmethod
    def open(cls, path: str) -> Archive:
        """Open an archive and prove it.

        Raises:
            InvalidRequest: it cannot be read, or is no archive (exit 2).
            IntegrityError: it was cut or edited (exit 10).
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            cause = files.cause_of(error) if isinstance(error, OSError) else "not a file name"
            raise InvalidRequest(f"cannot read {path}: {cause}") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InvalidRequest(f"{path} is no regular file")
            return cls(path, descriptor)
        except OSError as error:
            os.close(descriptor)
            raise InvalidRequest(f"cannot read {path}: {files.cause_of(error)}") from None
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def bodies(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the body of each record."""
        for line, _ in self._lines():
            found = _LINE.fullmatch(line)
            if found is not None:
                yield int(found[1]), found[2]

    def body(self, seq: int) -> bytes | None:
        """Return the body of a record; ``None`` where it is not in here."""
        at = bisect_right(self._numbers, seq) - 1
        if at < 0 or seq > self.last:
            return None
        if at != self._block_at:
            end = self._places[at + 1] if at + 1 < len(self._places) else self._end
            data = os.pread(self._descriptor, end - self._places[at], self._places[at])
            lines = (line.partition(b" ") for line in data.split(b"\n") if line)
            self._block, self._block_at = {int(number): body for number, _, body in lines}, at
        return self._block.get(seq)

    def _lines(self) -> Iterator[tuple[bytes, int]]:
        """Yield each line with its newline, and where it begins; what has no newline is the last."""
        place, at, held = 0, 0, b""
        while piece := os.pread(self._descriptor, _PIECE, place):
            place += len(piece)
            *lines, held = (held + piece).split(b"\n")
            for line in lines:
                yield line + b"\n", at
                at += len(line) + 1
            if len(held) > _LONGEST:
                break
        if held:
            yield held, at

    def _prove(self) -> None:
        digest, malformed, trailer = hashlib.sha256(), False, None
        before = b""  # the line before, which is not hashed yet: the last one is not
        for number, (line, at) in enumerate(self._lines()):
            digest.update(before)
            if number == 0:
                header = _HEADER.fullmatch(line)
                if header is None:
                    raise self._foreign(line)
                self.store_id = header[1].decode("ascii")
            else:
                malformed = malformed or trailer is not None
                trailer = _TRAILER.fullmatch(line)
                malformed = (trailer is None and not self._take(line, at)) or malformed
            before, self._end = line, at
        if trailer is None:
            raise self._broken("its end is missing: it was cut")
        if trailer[2].decode("ascii") != digest.hexdigest():
            raise self._broken("it does not have the hash that its last line says: it was edited")
        if malformed or int(trailer[1]) != self.count:
            raise InvalidRequest(f"{self.path} is a malformed archive", hint="man 5 tokenctl-log")
        digest.update(before)
        self.digest = digest.hexdigest()

    def _take(self, line: bytes, at: int) -> bool:
        """Take in where a record lies; false where the line is none, or its number does not rise."""
        found = _LINE.fullmatch(line)
        if found is None or int(found[1]) <= self.last:
            return False
        if self.count % _STEP == 0:
            self._numbers.append(int(found[1]))
            self._places.append(at)
        self.count, self.last = self.count + 1, int(found[1])
        self.first = self.first or self.last
        return True

    def _foreign(self, line: bytes) -> InvalidRequest:
        if line.startswith(b"tokenctl-archive/") and not line.startswith(MAGIC.encode() + b" "):
            return InvalidRequest(f"{self.path} was made by a newer tokenctl", hint="upgrade tokenctl")
        return InvalidRequest(f"{self.path} is no archive of tokenctl", hint="name the file that audit archive --out wrote")

    def _broken(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{self.path} does not check out: {why}", hint="take another copy of that file", reason="archive_damaged"
        )
