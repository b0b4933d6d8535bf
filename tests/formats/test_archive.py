"""The archive inside a backup: read in any pieces, and refused for anything that tokenctl does not write."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest

from tests.commands.backups import archive, members
from tokenctl.errors import IntegrityError, InvalidConfiguration
from tokenctl.formats.archive import Manifest, Packed, Unpacked
from tokenctl.secret import Secret

STORE = bytes(range(256)) * 20
MANIFEST = Manifest(
    store_id="0353Vk6EL7ltRvaQyliYrE", profile="local", made_at=1_795_000_000_000, schema=2, records=5, tokens=2, root="ab" * 32,
    tokenctl="0.1.0", with_keys=True,
)  # fmt: skip
TOLD = json.loads(MANIFEST.to_bytes())


def packed(manifest: Manifest = MANIFEST, root: bytes | None = b"\x07" * 32, store: bytes = STORE) -> bytes:
    reader, writer = os.pipe()
    os.write(writer, store)
    os.close(writer)
    try:
        stream = Packed(manifest, Secret(root) if root is not None else None, reader, len(store))
        return b"".join(iter(lambda: stream.read(999), b""))
    finally:
        os.close(reader)


def unpacked(data: bytes, step: int) -> tuple[Manifest, Secret | None, bytes, int]:
    store, sizes = bytearray(), []
    sink = Unpacked(lambda _, size: sizes.append(size), store.extend)
    for start in range(0, len(data), step):
        sink.write(data[start : start + step])
    return sink.end(), sink.root, bytes(store), *sizes


@pytest.mark.parametrize("step", [1, 511, 512, 513, 8192, 1_000_000])
@pytest.mark.parametrize("size", [1, 511, 512, 5120])
def test_what_is_packed_comes_out_in_whatever_pieces_it_arrives(step, size):
    data = packed(store=STORE[:size])
    assert unpacked(data, step) == (MANIFEST, Secret(b"\x07" * 32), STORE[:size], size)
    assert members(data)["store.db"] == STORE[:size]
    without = packed(MANIFEST._replace(with_keys=False), None)
    assert unpacked(without, step)[1] is None
    assert list(members(without)) == ["manifest.json", "store.db"]


def test_a_store_beyond_the_octal_sizes_of_tar_has_a_header_that_tar_reads():
    class Endless(Packed):
        pass

    stream = Endless(MANIFEST, None, 0, 9 * 2**30)
    begin = stream.read(1536)
    header = tarfile.TarInfo.frombuf(begin[1024:1536], "ascii", "strict")
    assert (header.name, header.size, header.type) == ("store.db", 9 * 2**30, tarfile.REGTYPE)
    sizes = []
    sink = Unpacked(lambda _, size: sizes.append(size), lambda _: None)
    sink.manifest = MANIFEST
    with pytest.raises(IntegrityError, match="root secret"):
        sink.write(begin)  # the manifest promises keys
    assert sizes == []


def test_a_copy_that_is_cut_while_it_is_packed_is_an_error():
    reader, writer = os.pipe()
    os.write(writer, STORE[:100])
    os.close(writer)
    with pytest.raises(OSError, match="cut"):
        Packed(MANIFEST, None, reader, len(STORE)).read(2**20)
    os.close(reader)


def told(**changes: object) -> bytes:
    return json.dumps(TOLD | changes).encode()


ROOT = b"07" * 32 + b"\n"
WHOLE = [("manifest.json", MANIFEST.to_bytes()), ("root", ROOT), ("store.db", STORE)]


def pax(*parts: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in parts:
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(data), {"comment": "more"}
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    {
        "nothing": b"",
        "rubbish": os.urandom(4096),
        "no member": bytes(1024),
        "a store alone": archive(WHOLE[2]),
        "another order": archive(WHOLE[0], WHOLE[2], WHOLE[1]),
        "the secret first": archive(WHOLE[1], WHOLE[0], WHOLE[2]),
        "no store": archive(*WHOLE[:2]),
        "a fourth member": archive(*WHOLE, ("more", b"x")),
        "two manifests": archive(WHOLE[0], *WHOLE),
        "two stores": archive(*WHOLE, WHOLE[2]),
        "an absolute name": archive(*WHOLE[:2], ("/store.db", STORE)),
        "a name that climbs": archive(*WHOLE[:2], ("../store.db", STORE)),
        "a name in a folder": archive(*WHOLE[:2], ("a/store.db", STORE)),
        "a symbolic link": archive(*WHOLE[:2], ("store.db", b""), type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "a hard link": archive(*WHOLE[:2], ("store.db", b""), type=tarfile.LNKTYPE, linkname="root"),
        "a file with a link's name": archive(*WHOLE[:2], ("store.db", STORE), linkname="root"),
        "a device": archive(*WHOLE[:2], ("store.db", b""), type=tarfile.CHRTYPE),
        "a folder": archive(*WHOLE[:2], ("store.db", b""), type=tarfile.DIRTYPE),
        "a sparse file": archive(*WHOLE[:2], ("store.db", STORE), type=tarfile.GNUTYPE_SPARSE),
        "extended headers": pax(*WHOLE),
        "an empty store": archive(*WHOLE[:2], ("store.db", b"")),
        "an empty secret": archive(WHOLE[0], ("root", b""), WHOLE[2]),
        "a long secret": archive(WHOLE[0], ("root", ROOT * 2), WHOLE[2]),
        "a secret that is none": archive(WHOLE[0], ("root", b"g" * 64 + b"\n"), WHOLE[2]),
        "something behind its end": archive(*WHOLE) + b"x" * 512,
        "a byte behind its end": archive(*WHOLE) + b"x",
        "a cut store": archive(*WHOLE)[: 512 * 6 + 100],
        "no end": archive(*WHOLE)[: -(-len(STORE) // 512) * 512 + 512 * 5],
        "a changed checksum": archive(*WHOLE).replace(b"0000644", b"0000777", 1),
        "a large manifest": archive(("manifest.json", b" " * 70_000), *WHOLE[1:]),
        "an empty manifest": archive(("manifest.json", b"{}"), *WHOLE[1:]),
        "a list": archive(("manifest.json", b"[]"), *WHOLE[1:]),
        "no JSON": archive(("manifest.json", b"\xff\xfe"), *WHOLE[1:]),
        "a deep manifest": archive(("manifest.json", b"[" * 60_000), *WHOLE[1:]),
        "a text for a number": archive(("manifest.json", told(records="3")), *WHOLE[1:]),
        "a negative number": archive(("manifest.json", told(records=-1)), *WHOLE[1:]),
        "true for a number": archive(("manifest.json", told(records=True)), *WHOLE[1:]),
        "a long text": archive(("manifest.json", told(profile="x" * 201)), *WHOLE[1:]),
        "a control character": archive(("manifest.json", told(profile="\x1b[2J")), *WHOLE[1:]),
        "no time": archive(("manifest.json", told(made_at="yesterday's")), *WHOLE[1:]),
        "a number for a time": archive(("manifest.json", told(made_at=7)), *WHOLE[1:]),
        "a secret that the manifest denies": archive(("manifest.json", told(with_keys=False)), *WHOLE[1:]),
        "a secret that the manifest promises": archive(WHOLE[0], WHOLE[2]),
    }.values(),
)  # fmt: skip
@pytest.mark.parametrize("step", [8192, 777])
def test_anything_else_is_refused(data, step):
    with pytest.raises(IntegrityError):
        unpacked(data, step)


def test_a_newer_format_is_told_from_a_damaged_one():
    with pytest.raises(InvalidConfiguration, match="newer"):
        unpacked(archive(("manifest.json", told(format=2)), *WHOLE[1:]), 512)
    with pytest.raises(IntegrityError):
        unpacked(archive(("manifest.json", told(format="2")), *WHOLE[1:]), 512)
