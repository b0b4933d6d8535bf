"""Stores of an older schema are brought forward in one transaction, or not at all."""

from __future__ import annotations

import pytest

from tokenctl.errors import TokenctlError
from tokenctl.store import schema
from tokenctl.store.connection import Store

_NEXT = ("CREATE TABLE later (id TEXT PRIMARY KEY NOT NULL) STRICT",)


@pytest.fixture
def old_store(tmp_path):
    path = str(tmp_path / "store.db")
    store = Store.create(path)
    with store.transaction(write=True):
        store.migrate()
        store.run("INSERT INTO meta VALUES ('kept', 'yes')")
    store = store.adopt(path)
    yield store
    store.close()


def test_an_older_store_is_brought_to_the_newest_schema_and_keeps_its_rows(old_store, monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, _NEXT))
    monkeypatch.setattr(schema, "VERSION", 2)
    old_store.check_schema()
    with old_store.transaction(write=True):
        old_store.migrate()
    assert old_store.version == 2
    assert old_store.value("SELECT value FROM meta WHERE name = 'kept'") == "yes"
    old_store.check_schema()


def test_a_migration_that_fails_leaves_the_older_store_as_it_was(old_store, monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, (*_NEXT, "INSERT INTO meta VALUES ('kept', 'twice')")))
    monkeypatch.setattr(schema, "VERSION", 2)
    with pytest.raises(TokenctlError), old_store.transaction(write=True):
        old_store.migrate()
    assert old_store.version == 1
    old_store.check_schema()


def test_a_table_that_no_migration_made_is_refused(old_store):
    with old_store.transaction(write=True):
        old_store.run(_NEXT[0])
    with pytest.raises(TokenctlError) as caught:
        old_store.check_schema()
    assert caught.value.exit_code == 10
