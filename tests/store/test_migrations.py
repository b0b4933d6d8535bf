"""Stores of an older schema are brought forward in one transaction, or not at all."""

from __future__ import annotations

import apsw
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
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    old_store.check_schema()
    with old_store.transaction(write=True):
        old_store.migrate()
    assert old_store.version == schema.VERSION
    assert old_store.value("SELECT value FROM meta WHERE name = 'kept'") == "yes"
    old_store.check_schema()


def test_a_migration_that_fails_leaves_the_older_store_as_it_was(old_store, monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, (*_NEXT, "INSERT INTO meta VALUES ('kept', 'twice')")))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(TokenctlError), old_store.transaction(write=True):
        old_store.migrate()
    assert old_store.version == schema.VERSION - 1
    old_store.check_schema()


def test_a_table_that_no_migration_made_is_refused(old_store):
    with old_store.transaction(write=True):
        old_store.run(_NEXT[0])
    with pytest.raises(TokenctlError) as caught:
        old_store.check_schema()
    assert caught.value.exit_code == 10


# What undoes a version.
BACK = {
    2: (
        "DROP INDEX token_by_batch", "DROP INDEX token_running", "DROP INDEX token_suspended",
        "ALTER TABLE token DROP COLUMN run", "ALTER TABLE token DROP COLUMN batch",
        next(statement for statement in schema.MIGRATIONS[0] if "TABLE run" in statement),
    ),
    3: (
        "DROP INDEX token_by_replaced", "DROP INDEX token_in_grace", "DROP INDEX record_of_keys",
        "ALTER TABLE token DROP COLUMN grace",
    ),
    4: (
        "DROP INDEX record_by_ticket", "DROP INDEX record_by_operation", "DROP INDEX record_by_actor",
        "ALTER TABLE record DROP COLUMN ticket",
        next(statement for statement in schema.MIGRATIONS[0] if "record_by_time" in statement),
        next(statement for statement in schema.MIGRATIONS[2] if "record_of_keys" in statement),
    ),
    5: ("DROP INDEX token_by_verifier",),
}  # fmt: skip


def made_old(path, version):
    """Turn a store of this version into one that an older version made: its rows are the same to the byte."""
    connection = apsw.Connection(str(path))
    for undone in range(schema.VERSION, version, -1):
        for statement in BACK[undone]:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")
    held = sorted(row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"))
    connection.close()
    assert held == schema.statements_of(schema.MIGRATIONS[:version])


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_store_of_an_older_version_is_read_as_it_is_and_brought_forward_by_the_next_change(cli, version):
    token = cli.token("--request-id", "first", "--ttl", "1h")
    made_old(cli.store, version)
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert cli("list", "--batch", "first").out.startswith(cli.id_of(token))
    assert cli("audit", "verify").code == 0
    assert cli("issue", "--replace", cli.id_of(token), "-n").code == 0
    assert apsw.Connection(str(cli.store)).execute("PRAGMA user_version").fetchone() == (version,)
    cli.token()
    assert apsw.Connection(str(cli.store)).execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    assert cli("list", "--batch", "first").out.startswith(cli.id_of(token))
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert cli("audit", "verify").code == 0


def test_the_tickets_of_an_older_store_are_found_there_and_when_it_was_brought_forward(cli):
    awkward = 'INC-"ticket":null-é'
    ids = [cli.id_of(cli.token()) for _ in range(3)]
    for identifier, ticket in zip(ids, (awkward, "INC-2", None), strict=True):
        assert cli("revoke", identifier, "--yes", *(("--ticket", ticket) if ticket else ())).code == 0
    made_old(cli.store, 3)
    for _ in range(2):
        for identifier, ticket in zip(ids, (awkward, "INC-2"), strict=False):
            told = cli("audit", "log", "--ticket", ticket, "-o", "jsonl").lines
            assert [(record["operation"], record["target"]) for record in told] == [("token.revoke", identifier)]
        cli.token()
        assert apsw.Connection(str(cli.store)).execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    filled = apsw.Connection(str(cli.store)).execute("SELECT ticket FROM record WHERE ticket IS NOT NULL ORDER BY seq")
    assert [row[0] for row in filled] == [awkward, "INC-2"]
    assert cli("audit", "verify").code == 0


def test_a_ticket_beside_the_body_that_the_body_does_not_say_is_found(cli):
    identifier = cli.id_of(cli.token())
    cli("revoke", identifier, "--ticket", "INC-1", "--yes")
    connection = apsw.Connection(str(cli.store))
    connection.execute("UPDATE record SET ticket = 'INC-2' WHERE ticket IS NOT NULL")
    connection.close()
    done = cli("audit", "verify")
    assert (done.code, "record 3: its columns differ from its body" in done.out) == (10, True)


def test_a_token_of_an_older_store_is_replaced_there_as_anywhere(cli):
    token = cli.token("--ttl", "1h")
    made_old(cli.store, 2)
    successor = cli("issue", "--replace", cli.id_of(token), "--grace", "10m", "-q").out.strip()
    assert apsw.Connection(str(cli.store)).execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    assert cli("inspect", "-", "--use", "-q", input=successor).code == 0
    assert cli("inspect", "-", "-q", input=token).code == 3
    assert cli("audit", "verify").code == 0


def test_the_schema_that_is_compared_is_what_sqlite_holds_after_every_version():
    connection = apsw.Connection(":memory:")
    for version, statements in enumerate(schema.MIGRATIONS, 1):
        for statement in statements:
            connection.execute(statement)
        held = sorted(row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"))
        assert held == schema.statements_of(schema.MIGRATIONS[:version])
