"""Rows of the store and what protects them.

Every token and key row carries an HMAC over all its columns but the observations; a token's also covers its tags.
Nothing is called active, and no key signs, before that is checked.
"""

import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from tokenctl.model.selector import Selector
from tokenctl.model.token import Key, Token
from tokenctl.store.connection import Store
from tokenctl.store.schema import ADDED_COLUMNS

Row = TypeVar("Row")

_NONCE_TAG = 16  # bytes
_TAGS = ("scope", "audience", "labels")
_TOKEN_COLUMNS = tuple(name for name in Token._fields if name not in _TAGS)
_FIRST_COLUMNS = tuple(name for name in _TOKEN_COLUMNS if name not in ADDED_COLUMNS)
_KEY_COLUMNS = Key._fields
_UNPROTECTED = frozenset({"last_used_at", "delivered_at"})
_SELECT_KEY = f"SELECT mac, {', '.join(_KEY_COLUMNS)} FROM key"


class Stored(NamedTuple, Generic[Row]):
    """A row as read, and whether its MAC holds; what does not hold is never believed."""

    row: Row
    intact: bool


class Protector(NamedTuple):
    """Makes and checks the MACs of one store's rows."""

    key: bytes
    store_id: str

    def token_mac(self, token: Token) -> bytes:
        unprotected = _UNPROTECTED if token.max_uses is not None else _UNPROTECTED | {"uses"}
        columns = [_plain(getattr(token, name)) for name in _FIRST_COLUMNS if name not in unprotected]
        # A column that came later counts where it is filled, so that the rows of an older store keep their MAC.
        added = [[name, getattr(token, name)] for name in ADDED_COLUMNS if getattr(token, name) is not None]
        return self._mac("token", [*columns, sorted(token.scope), sorted(token.audience), sorted(token.labels), *added])

    def key_mac(self, key: Key) -> bytes:
        return self._mac("key", [_plain(getattr(key, name)) for name in _KEY_COLUMNS])

    def meta_mac(self, meta: Mapping[str, object]) -> bytes:
        return self._mac("meta", [[name, _plain(value)] for name, value in sorted(meta.items()) if name != "mac"])

    def nonce_tag(self, seq: int, nonce: bytes) -> bytes:
        return self._mac("nonce", [seq, nonce.hex()])[:_NONCE_TAG]

    def _mac(self, table: str, columns: list[object]) -> bytes:
        text = json.dumps(["tokenctl/row/v1", self.store_id, table, columns], separators=(",", ":"))
        return hmac.digest(self.key, text.encode("ascii"), "sha256")


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


class Rows:
    """Reads and writes the rows of one store inside the caller's transaction."""

    def __init__(self, store: Store, protector: Protector) -> None:
        self._store = store
        self._protector = protector
        self._version = store.version
        columns = [f"token.{name}" if self._has(name) else f"NULL AS {name}" for name in _TOKEN_COLUMNS]
        self._select_token = f"SELECT mac, {', '.join(columns)} FROM token"

    def _has(self, column: str) -> bool:
        """Whether the store is new enough for a column: a reader takes an older one as it is."""
        return self._version >= ADDED_COLUMNS.get(column, 1)

    # Records

    def nonce_tag(self, seq: int, nonce: bytes) -> bytes:
        """Return what stands behind a record's nonce, so that a changed one is seen: the body only commits to it."""
        return self._protector.nonce_tag(seq, nonce)

    def nonce_intact(self, seq: int, stored: bytes) -> bool:
        nonce, tag = stored[:-_NONCE_TAG], stored[-_NONCE_TAG:]
        return hmac.compare_digest(tag, self._protector.nonce_tag(seq, nonce))

    # Tokens

    def token(self, identifier: str) -> Stored[Token] | None:
        row = self._store.row(f"{self._select_token} WHERE id = ?", identifier)
        return None if row is None else self._token(row)

    def _token(self, row: Sequence[object]) -> Stored[Token]:
        tags: dict[str, list[str]] = {"scope": [], "audience": [], "label": []}
        expiries = set()
        facts = dict(zip(_TOKEN_COLUMNS, row[1:], strict=True))
        for name, value, expires_at in self._store.rows(
            "SELECT name, value, expires_at FROM tag WHERE token = ? ORDER BY name, value", facts["id"]
        ):
            tags.setdefault(str(name), []).append(str(value))
            expiries.add(expires_at)
        labels = tuple((name, value) for name, _, value in (label.partition("=") for label in tags["label"]))
        token = Token(**facts, scope=tuple(tags["scope"]), audience=tuple(tags["audience"]), labels=labels)  # type: ignore[arg-type]  # STRICT columns
        known = len(tags) == 3 and expiries <= {token.expires_at}
        mac = row[0]
        intact = known and isinstance(mac, bytes) and hmac.compare_digest(mac, self._protector.token_mac(token))
        return Stored(row=token, intact=intact)

    def insert_token(self, token: Token) -> None:
        marks = ", ".join("?" * (len(_TOKEN_COLUMNS) + 1))
        self._store.run(
            f"INSERT INTO token (mac, {', '.join(_TOKEN_COLUMNS)}) VALUES ({marks})",
            self._protector.token_mac(token),
            *(getattr(token, name) for name in _TOKEN_COLUMNS),
        )
        tags = [("scope", value) for value in token.scope] + [("audience", value) for value in token.audience]
        tags += [("label", f"{name}={value}") for name, value in token.labels]
        for name, value in tags:
            self._store.run("INSERT INTO tag VALUES (?, ?, ?, ?)", name, value, token.expires_at, token.id)

    def update_token(self, token: Token, *changed: str) -> None:
        """Write the named columns of a token, and its MAC."""
        self._store.run(
            f"UPDATE token SET mac = ?, {', '.join(f'{name} = ?' for name in changed)} WHERE id = ?",
            self._protector.token_mac(token),
            *(getattr(token, name) for name in changed),
            token.id,
        )

    def condemn_token(self, token: Token, *changed: str) -> None:
        """Write a revocation into a row whose MAC does not hold, and leave the MAC broken: it stays evidence."""
        self._store.run(
            f"UPDATE token SET {', '.join(f'{name} = ?' for name in changed)} WHERE id = ?",
            *(getattr(token, name) for name in changed),
            token.id,
        )

    def observe_use(self, token: Token) -> None:
        """Write the unprotected columns of use."""
        self._store.run("UPDATE token SET uses = ?, last_used_at = ? WHERE id = ?", token.uses, token.last_used_at, token.id)

    def observe_delivery(self, identifier: str, at: int) -> bool:
        """Write that a token was delivered; false where it was revoked meanwhile."""
        return self._store.run("UPDATE token SET delivered_at = ? WHERE id = ? AND revoked_at IS NULL", at, identifier) == 1

    def newest_leaf(self, target: str) -> int:
        """Return the number of the newest record about a target; zero for none."""
        return self._store.integer("SELECT max(seq) FROM record WHERE target = ?", target)

    def newest_operation(self, target: str) -> str | None:
        """Return what the newest record about a target tells of."""
        operation = self._store.value("SELECT operation FROM record WHERE target = ? ORDER BY seq DESC LIMIT 1", target)
        return None if operation is None else str(operation)

    def children(self, identifier: str) -> list[str]:
        return [str(row[0]) for row in self._store.rows("SELECT id FROM token WHERE parent = ? ORDER BY id", identifier)]

    def descendants(self, identifier: str) -> Iterator[str]:
        """Yield the ids of children, their children and so on, each once."""
        seen = {identifier}
        waiting = [identifier]
        while waiting:
            for child in self.children(waiting.pop()):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
                    yield child

    def undelivered(self, before: int, *, limit: int) -> list[str]:
        """Return the ids of tokens issued before an instant whose delivery is not known."""
        sql = "SELECT id FROM token WHERE delivered_at IS NULL AND revoked_at IS NULL AND issued_at <= ? LIMIT ?"
        return [str(row[0]) for row in self._store.rows(sql, before, limit)]

    def living_of(
        self, owner: str, kinds: Sequence[str], *, now: int, undelivered_since: int
    ) -> list[tuple[str, str | None, int]]:
        """Count the tokens of an owner that may still be accepted, by subject and run."""
        run = "run" if self._has("run") else "NULL"
        sql = f"""SELECT subject, {run}, count(*) FROM token
            WHERE owner = ? AND expires_at > ? AND revoked_at IS NULL AND kind IN ({", ".join("?" * len(kinds))})
            AND (delivered_at IS NOT NULL OR issued_at > ?) AND (max_uses IS NULL OR uses < max_uses)
            AND (grace_until IS NULL OR grace_until > ?)
            AND (kid IS NULL OR kid NOT IN (SELECT kid FROM key WHERE state = 'compromised')) GROUP BY 1, 2"""
        found = self._store.rows(sql, owner, now, *kinds, undelivered_since, now)
        return [
            (str(subject), None if run is None else str(run), count)
            for subject, run, count in found
            if isinstance(count, int)
        ]  # fmt: skip

    def replaceable(self, request: str, actor: str, *, undelivered_since: int) -> int:
        """Return how many living tokens make way when a request is made again: those that never reached their taker."""
        return self._store.integer(
            """SELECT count(*) FROM token WHERE request = ? AND issued_by = ? AND delivered_at IS NULL
               AND revoked_at IS NULL AND issued_at > ?""",
            request, actor, undelivered_since,
        )  # fmt: skip

    def running(self) -> list[tuple[str, str]]:
        """Return the unrevoked tokens that live with a process: id and run."""
        if not self._has("run"):
            return []
        sql = "SELECT id, run FROM token WHERE run IS NOT NULL AND revoked_at IS NULL"
        return [(str(token), str(run)) for token, run in self._store.rows(sql)]

    def select(self, selector: Selector, *, now: int, after: tuple[int, str] | None = None) -> Iterator[Stored[Token]]:
        """Yield the tokens that a selector's columns choose, by (expires_at, id); states are the caller's."""
        conditions, parameters = _conditions(selector, now, batches=self._has("batch"))
        if after is not None:
            conditions.append("(token.expires_at, token.id) > (?, ?)")
            parameters.extend(after)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"{self._select_token}{where} ORDER BY token.expires_at, token.id"
        for row in self._store.rows(sql, *parameters):
            yield self._token(row)

    def every_token(self) -> Iterator[Stored[Token]]:
        for row in self._store.rows(f"{self._select_token} ORDER BY rowid"):
            yield self._token(row)

    # Keys

    def key(self, kid: str) -> Stored[Key] | None:
        row = self._store.row(f"{_SELECT_KEY} WHERE kid = ?", kid)
        return None if row is None else self._key(row)

    def every_key(self) -> list[Stored[Key]]:
        return [self._key(row) for row in self._store.rows(f"{_SELECT_KEY} ORDER BY created_at, kid")]

    def _key(self, row: Sequence[object]) -> Stored[Key]:
        key = Key(**dict(zip(_KEY_COLUMNS, row[1:], strict=True)))  # type: ignore[arg-type]  # STRICT columns
        mac = row[0]
        intact = isinstance(mac, bytes) and hmac.compare_digest(mac, self._protector.key_mac(key))
        return Stored(row=key, intact=intact)

    def insert_key(self, key: Key) -> None:
        marks = ", ".join("?" * (len(_KEY_COLUMNS) + 1))
        self._store.run(
            f"INSERT INTO key (mac, {', '.join(_KEY_COLUMNS)}) VALUES ({marks})",
            self._protector.key_mac(key),
            *(getattr(key, name) for name in _KEY_COLUMNS),
        )

    def living_under(self, kid: str, now: int) -> int:
        """Return how many unexpired, unrevoked tokens a key signed."""
        return self._store.integer("SELECT count(*) FROM token WHERE kid = ? AND expires_at > ? AND revoked_at IS NULL", kid, now)

    def last_expiry_under(self, kid: str) -> int | None:
        value = self._store.value("SELECT max(expires_at) FROM token WHERE kid = ?", kid)
        return value if isinstance(value, int) else None


def _conditions(selector: Selector, now: int, *, batches: bool) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    parameters: list[object] = []

    def any_of(column: str, values: Sequence[str], operator: str = "=") -> None:
        if values:
            conditions.append(f"({' OR '.join([f'{column} {operator} ?'] * len(values))})")
            parameters.extend(values)

    def pattern(column: str, values: Sequence[str]) -> None:
        if any("*" in value for value in values):
            any_of(column, [_glob(value) for value in values], "GLOB")
        else:
            any_of(column, values)

    def tagged(name: str, values: Sequence[str], *, patterns: bool) -> None:
        if not values:
            return
        operator = "GLOB" if patterns and any("*" in value for value in values) else "="
        chosen = [_glob(value) for value in values] if operator == "GLOB" else values
        alternatives = " OR ".join([f"value {operator} ?"] * len(values))
        conditions.append(f"token.id IN (SELECT token FROM tag WHERE name = ? AND ({alternatives}))")
        parameters.extend([name, *chosen])

    pattern("token.subject", selector.subject)
    pattern("token.owner", selector.owner)
    for column in ("kind", "format", "kid", "parent"):
        any_of(f"token.{column}", getattr(selector, column))
    if selector.batch:
        columns = ("token.request", "token.batch") if batches else ("token.request",)
        conditions.append(f"({' OR '.join(f'{column} = ?' for column in columns for _ in selector.batch)})")
        parameters.extend([*selector.batch] * len(columns))
    tagged("scope", selector.scope, patterns=False)
    tagged("audience", selector.audience, patterns=True)
    tagged("label", [label if "=" in label else f"{label}=*" for label in selector.labels], patterns=True)
    for column, operator, instant in (
        ("issued_at", ">=", selector.issued_after),
        ("issued_at", "<", selector.issued_before),
        ("expires_at", ">=", selector.expires_after),
        ("expires_at", "<", selector.expires_before),
    ):
        if instant is not None:
            conditions.append(f"token.{column} {operator} ?")
            parameters.append(instant)
    if selector.unused_for is not None:
        conditions.append("coalesce(token.last_used_at, token.issued_at) <= ?")
        parameters.append(now - selector.unused_for)
    if selector.never_used:
        conditions.append("token.last_used_at IS NULL")
    if (selector.never_used or selector.unused_for is not None) and not selector.untracked:
        conditions.append("token.format <> 'jwt'")
    if not {"expired", "revoked", "undelivered"} & set(selector.states):
        conditions.append("token.expires_at > ? AND token.revoked_at IS NULL")
        parameters.append(now)
    elif set(selector.states) == {"undelivered"}:
        conditions.append("(token.reason = 'undelivered' OR token.delivered_at IS NULL)")
    return conditions, parameters


def _glob(text: str) -> str:
    """Translate: only ``*`` is special to us, ``?`` and ``[`` are too to SQLite."""
    return "".join(f"[{character}]" if character in "?[" else character for character in text)
