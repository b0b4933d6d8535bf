"""Copies that are kept aside: durable, with their log, before anything is removed."""

from __future__ import annotations

import os

from tokenctl.store import copies


def test_a_file_that_is_no_database_is_kept_with_its_log_and_both_are_synced(tmp_path, monkeypatch):
    store = tmp_path / "store.db"
    store.write_bytes(b"no database")
    (tmp_path / "store.db-wal").write_bytes(b"what it had not written yet")
    sync, synced = os.fsync, []

    def noted(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", noted)
    aside = copies.keep_bytes_aside(str(store))
    assert synced == ["store.db.replaced.new-wal", tmp_path.name, "store.db.replaced.new", tmp_path.name]
    with open(aside, "rb") as copy, open(f"{aside}-wal", "rb") as log:
        assert (copy.read(), log.read()) == (b"no database", b"what it had not written yet")
    assert copies.keep_bytes_aside(str(store)) == aside
    assert [oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("*.replaced-*")] == ["0o600", "0o600"]
    assert copies.kept(str(store)) == [aside]
    assert not list(tmp_path.glob("*.new*"))


def test_what_a_kept_log_that_was_cut_left_is_named_and_removed(tmp_path):
    store = tmp_path / "store.db"
    store.write_bytes(b"no database")
    for name in ("store.db.replaced.new", "store.db.replaced.new-wal"):
        (tmp_path / name).write_bytes(b"half")
    left = [str(tmp_path / name) for name in ("store.db.replaced.new", "store.db.replaced.new-wal")]
    assert copies.unfinished(str(store), "restore") == left
    assert copies.unfinished(str(store), "backup") == []
    copies.keep_bytes_aside(str(store))
    assert copies.unfinished(str(store), "restore") == []
