"""The only owner of SQLite: connection, lock, schema, migrations, rows."""
