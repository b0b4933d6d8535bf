"""The local authority: an authorization server in this process over a SQLite store."""
