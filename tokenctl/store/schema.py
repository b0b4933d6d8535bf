"""The tables of a store, version by version.

STRICT tables; times INTEGER milliseconds UTC; rows are never deleted. What protects a row (its MAC) is in ``rows``.
"""

from __future__ import annotations

APPLICATION_ID = 0x746B6374  # "tkct"

_VERSION_1 = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value ANY NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE token (
  id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, format TEXT NOT NULL,
  subject TEXT NOT NULL, owner TEXT NOT NULL, issued_by TEXT NOT NULL,
  issuer TEXT, kid TEXT, parent TEXT,
  issued_at INTEGER NOT NULL, not_before INTEGER, expires_at INTEGER NOT NULL,
  revoked_at INTEGER, revoked_by TEXT, reason TEXT, revoked_note TEXT, ticket TEXT, revoked_request TEXT,
  children_kept INTEGER NOT NULL,
  suspended_at INTEGER, suspended_until INTEGER, suspended_then TEXT,
  replaces TEXT, replaced_by TEXT, grace_until INTEGER,
  max_uses INTEGER, note TEXT, request TEXT,
  verifier BLOB, pepper_version INTEGER,
  leaf INTEGER NOT NULL, mac BLOB NOT NULL,
  uses INTEGER NOT NULL, last_used_at INTEGER, delivered_at INTEGER
) STRICT""",
    "CREATE INDEX token_by_expiry ON token (expires_at, id)",
    "CREATE INDEX token_by_subject ON token (subject, expires_at, id)",
    "CREATE INDEX token_by_owner ON token (owner, expires_at, id)",
    "CREATE INDEX token_by_kid ON token (kid, expires_at, id) WHERE kid IS NOT NULL",
    "CREATE INDEX token_by_parent ON token (parent) WHERE parent IS NOT NULL",
    "CREATE INDEX token_by_request ON token (request) WHERE request IS NOT NULL",
    "CREATE INDEX token_due ON token (issued_at) WHERE delivered_at IS NULL AND revoked_at IS NULL",
    """CREATE TABLE tag (
  name TEXT NOT NULL, value TEXT NOT NULL, expires_at INTEGER NOT NULL, token TEXT NOT NULL,
  PRIMARY KEY (name, value, expires_at, token)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX tag_by_token ON tag (token)",
    """CREATE TABLE run (
  token TEXT PRIMARY KEY NOT NULL, pid INTEGER NOT NULL, start_time INTEGER NOT NULL, boot_id TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE key (
  kid TEXT PRIMARY KEY NOT NULL, alg TEXT NOT NULL, state TEXT NOT NULL, public TEXT NOT NULL,
  sealed BLOB, kek_version INTEGER NOT NULL,
  created_at INTEGER NOT NULL, published_at INTEGER, activated_at INTEGER,
  retiring_at INTEGER, retired_at INTEGER, compromised_at INTEGER,
  leaf INTEGER NOT NULL, mac BLOB NOT NULL
) STRICT""",
    "CREATE UNIQUE INDEX key_active ON key (alg) WHERE state = 'active'",
    """CREATE TABLE request (
  actor TEXT NOT NULL, id TEXT NOT NULL, hmac BLOB NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (actor, id)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE record (
  seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, operation TEXT NOT NULL, target TEXT, request TEXT,
  actor TEXT NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL, nonce BLOB NOT NULL
) STRICT""",
    "CREATE INDEX record_by_target ON record (target, seq) WHERE target IS NOT NULL",
    "CREATE INDEX record_by_request ON record (request, seq) WHERE request IS NOT NULL",
    "CREATE INDEX record_by_time ON record (time)",
    """CREATE TABLE head (
  one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, range BLOB NOT NULL, root BLOB NOT NULL,
  time INTEGER NOT NULL, quarantine TEXT, mac BLOB NOT NULL
) STRICT""",
)

# A run stands in its token's row, under its MAC; ``batch`` is the request id of a bulk issue.
_VERSION_2 = (
    "ALTER TABLE token ADD COLUMN batch TEXT",
    "ALTER TABLE token ADD COLUMN run TEXT",
    "DROP TABLE run",
    "CREATE INDEX token_by_batch ON token (batch) WHERE batch IS NOT NULL",
    "CREATE INDEX token_running ON token (run) WHERE run IS NOT NULL AND revoked_at IS NULL",
    "CREATE INDEX token_suspended ON token (suspended_until) WHERE suspended_until IS NOT NULL AND revoked_at IS NULL",
)

# A successor keeps how long what it replaces goes on; both ends of a replacement are found by an index.
_VERSION_3 = (
    "ALTER TABLE token ADD COLUMN grace INTEGER",
    "CREATE INDEX token_by_replaced ON token (replaces) WHERE replaces IS NOT NULL",
    "CREATE INDEX token_in_grace ON token (grace_until) WHERE grace_until IS NOT NULL AND revoked_at IS NULL",
    "CREATE INDEX record_of_keys ON record (seq) WHERE operation = 'key.create'",
)

# What the log is asked for has an index of its own, each in the order of the numbers. Times follow the numbers, so that theirs
# is not needed; a ticket stood in the body alone.
TICKET_OF_BODY = "CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.ticket') END"
_VERSION_4 = (
    "DROP INDEX record_of_keys",  # first, so that the new ones take their room
    "DROP INDEX record_by_time",
    "ALTER TABLE record ADD COLUMN ticket TEXT",
    f"UPDATE record SET ticket = {TICKET_OF_BODY} WHERE instr(body, CAST('\"ticket\":null' AS BLOB)) = 0",
    "CREATE INDEX record_by_ticket ON record (ticket) WHERE ticket IS NOT NULL",
    "CREATE INDEX record_by_operation ON record (operation)",
    "CREATE INDEX record_by_actor ON record (actor)",
)

# A row may be of a token that a remote service issued: it has an issuer and a verifier too, and is found by that.
REMOTE = "token.issuer IS NOT NULL AND token.verifier IS NOT NULL"
_VERSION_5 = ("CREATE INDEX token_by_verifier ON token (verifier) WHERE issuer IS NOT NULL AND verifier IS NOT NULL",)

# MIGRATIONS[n] leads from version n to n + 1; version 0 is an empty file.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
VERSION = len(MIGRATIONS)
# The version that added a column to the rows of tokens: an older store is read without it.
ADDED_COLUMNS = {"batch": 2, "run": 2, "grace": 3}
TICKETS = 4  # the version that gave records a column for their ticket


def statements_of(migrations: tuple[tuple[str, ...], ...]) -> list[str]:
    """Return what ``sqlite_schema`` holds after these migrations, sorted."""
    made: dict[str, str] = {}
    for statement in (statement for migration in migrations for statement in migration):
        verb, *words = statement.split()
        if verb == "CREATE":
            made[words[2] if words[0] == "UNIQUE" else words[1]] = statement
        elif verb == "DROP":
            del made[words[1]]
        elif verb == "ALTER":  # SQLite writes an added column in front of the last bracket
            name, column = words[1], " ".join(words[4:])
            body, _, tail = made[name].rpartition(")")
            made[name] = f"{body}, {column}){tail}"
    return sorted(made.values())
