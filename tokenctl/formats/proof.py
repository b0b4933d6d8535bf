"""The file by which one record is shown to be in a log, to someone who has only the file and the log's verifier key.

It is a C2SP tlog-proof; its ``extra`` line carries what the leaf is computed from, the body of the record, and where the
record's parameters are disclosed these and the nonce of its commitment. All of that counts only once the leaf is found in the
signed tree. Sources: C2SP tlog-proof, RFC 6962 section 2.1.1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tokenctl.errors import InvalidRequest
from tokenctl.formats import note, strict_json
from tokenctl.model.record import NONCE_LENGTH, canonical

MAX_PROOF = 2 * 1024 * 1024  # bytes
_MAGIC = "c2sp.org/tlog-proof@v1"
_HASH_LENGTH = 32  # bytes
_LONGEST_PATH = 63  # hashes
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_NONCE = re.compile(rf"[0-9a-f]{{{2 * NONCE_LENGTH}}}")


class Disclosed(NamedTuple):
    """What a record commits to, and the nonce that opens its commitment."""

    parameters: dict[str, object]
    nonce: bytes


class Proof(NamedTuple):
    """A proof as it is written; nothing of it is verified by being one.

    Attributes:
        body: The record's body, the bytes of which the leaf is the hash.
        leaf_index: Counted from zero.
        path: From the leaf's sibling up to a child of the root.
        note: The checkpoint, a signed note.
    """

    body: bytes
    leaf_index: int
    path: tuple[bytes, ...]
    note: bytes
    disclosed: Disclosed | None = None

    def to_bytes(self) -> bytes:
        lines = [
            _MAGIC, f"extra {note.encoded(self._extra())}", f"index {self.leaf_index}", *map(note.encoded, self.path), "", ""
        ]  # fmt: skip
        return "\n".join(lines).encode("ascii") + self.note

    def _extra(self) -> bytes:
        members: dict[str, object] = {"body": self.body.decode("ascii")}
        if self.disclosed is not None:
            members |= {"nonce": self.disclosed.nonce.hex(), "parameters": self.disclosed.parameters}
        return canonical(members)


def parse(data: bytes) -> Proof:
    """Read a proof; whatever is not written as :meth:`Proof.to_bytes` writes it is refused.

    Raises:
        InvalidRequest: it is none (exit 2).
    """
    if len(data) > MAX_PROOF:
        raise InvalidRequest(f"a proof is at most {MAX_PROOF // 1024 // 1024} MiB")
    head, separator, signed = data.partition(b"\n\n")
    try:
        magic, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _no_proof("its head is not ASCII") from None
    if magic != _MAGIC or not separator or len(lines) < 2:
        raise _no_proof("it does not begin as one, or no checkpoint stands in it")
    index = _INDEX.fullmatch(lines[1])
    if index is None:
        raise _no_proof("no index stands where it should")
    path = [digest for line in lines[2:] if (digest := note.decoded(line)) is not None and len(digest) == _HASH_LENGTH]
    if len(path) != len(lines) - 2 or len(path) > _LONGEST_PATH:
        raise _no_proof("a line of its path is no hash")
    note.parse_checkpoint(signed)
    body, disclosed = _read_extra(lines[0])
    return Proof(body, int(index[1]), tuple(path), signed, disclosed)


def _read_extra(line: str) -> tuple[bytes, Disclosed | None]:
    word, _, encoded = line.partition(" ")
    extra = note.decoded(encoded)
    if word != "extra" or not extra:
        raise _no_proof("the record does not stand in it")
    members = strict_json.read_object(extra, what="the extra line of the proof")
    body, nonce, parameters = members.get("body"), members.get("nonce"), members.get("parameters")
    if not isinstance(body, str) or not body.isascii() or canonical(members) != extra:
        raise _no_proof("its extra line is not written as it should be")
    if members.keys() == {"body"}:
        return body.encode("ascii"), None
    if (
        members.keys() != {"body", "nonce", "parameters"}
        or not isinstance(nonce, str)
        or not _NONCE.fullmatch(nonce)
        or not isinstance(parameters, dict)
    ):
        raise _no_proof("what it discloses is not written as it should be")
    return body.encode("ascii"), Disclosed(parameters, bytes.fromhex(nonce))


def _no_proof(why: str) -> InvalidRequest:
    return InvalidRequest(f"this is no proof of a record: {why}", hint="tokenctl audit show ID --proof makes one")
