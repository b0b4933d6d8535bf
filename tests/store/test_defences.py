"""Every defence of a connection is on: SQLite takes a statement that it never came to for granted."""

from __future__ import annotations

import apsw

from tokenctl.store import connection


def test_every_defence_of_a_connection_is_on():
    opened = apsw.Connection(":memory:")
    connection.defend(opened)
    found = {
        name: opened.execute(f"PRAGMA {name}").fetchall()[0][0]
        for name in ("synchronous", "secure_delete", "cell_size_check", "cache_size", "trusted_schema")
    }
    assert found == {"synchronous": 2, "secure_delete": 1, "cell_size_check": 1, "cache_size": -65536, "trusted_schema": 0}
