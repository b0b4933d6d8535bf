"""What the tests of backups share: keys of the real age, and archives put together by hand."""

from __future__ import annotations

import io
import shutil
import sqlite3
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

import pyrage

from tests.conftest import missing


class AgeKey(NamedTuple):
    """An identity file of age-keygen and its recipient."""

    path: str
    recipient: str


def age_key(folder: Path, name: str = "key.txt") -> AgeKey:
    if shutil.which("age-keygen") is None or shutil.which("age") is None:
        missing("age")
    path = folder / name
    subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
    done = subprocess.run(["age-keygen", "-y", str(path)], check=True, capture_output=True, text=True)
    return AgeKey(str(path), done.stdout.strip())


def age(*arguments: str, data: bytes | None = None) -> bytes:
    """Run the real age."""
    done = subprocess.run(["age", *arguments], input=data, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def members(plain: bytes) -> dict[str, bytes]:
    """What the archive inside a backup holds."""
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def archive(*parts: tuple[str, bytes], **changes: object) -> bytes:
    """Put an archive together; ``changes`` are made to the header of its last member."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (name, data) in enumerate(parts):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for field, value in changes.items() if number == len(parts) - 1 else ():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def sealed(plain: bytes, key: AgeKey) -> bytes:
    return pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(key.recipient)])


def changed_store(data: bytes, folder: Path, *statements: str) -> bytes:
    """A store with statements run on it by a stranger."""
    path = folder / "changed.db"
    path.write_bytes(data)
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path.read_bytes()


def repacked(parts: dict[str, bytes], **changes: bytes) -> bytes:
    """An archive of these members, some of them changed: ``store``, ``root``, ``manifest``; an empty one is left out."""
    names = {"manifest.json": "manifest", "root": "root", "store.db": "store"}
    new = [(name, changes.get(names[name], data)) for name, data in parts.items()]
    return archive(*[(name, data) for name, data in new if data])
