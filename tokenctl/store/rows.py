"""Rows of the store, read with their MACs and written with them.

Nothing is called active, and no key signs, before its MAC is checked.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from tokenctl.model.token import Key, Token
from tokenctl.store.connection import Store
from tokenctl.store.protection import NONCE_TAG_LENGTH, TAGS, Protector
from tokenctl.store.schema import ADDED_COLUMNS, REMOTE

if TYPE_CHECKING:
    from tokenctl.model.selector import Selector  # most verbs choose nothing

Row = TypeVar("Row")

_TOKEN_COLUMNS = tuple(name for name in Token._fields if name not in TAGS)
_TAGS_AT = Token._fields.index("scope")  # the tags stand together in a token
_EXPIRES_AT = Token._fields.index("expires_at") + 1  # behind the MAC
_KEY_COLUMNS = Key._fields
_token_columns = attrgetter(*_TOKEN_COLUMNS)
_SELECT_TAGS = "SELECT name, value, expires_at, token FROM tag WHERE token"
_CHOSEN = "(SELECT value FROM json_each(?))"  # a list of ids, bound as one parameter
# Of the children of ?1: those that nothing accepts any more, at ?2, with all that died below them.
_OVER = """(expires_at <= ?2 OR (NOT children_kept AND (revoked_at IS NOT NULL OR (delivered_at IS NULL AND issued_at <= ?3)
    OR id IN (SELECT value FROM json_each(?4)))))"""
_GIVEN = f"""WITH RECURSIVE over(id) AS (
    SELECT id FROM token WHERE parent = ?1 AND {_OVER}
    UNION SELECT token.id FROM token JOIN over ON token.parent = over.id
  )
  SELECT coalesce((SELECT sum(uses) FROM token WHERE id IN over), 0)
    + coalesce((SELECT sum(coalesce(max_uses, uses)) FROM token WHERE parent = ?1 AND NOT {_OVER}), 0)"""
_SELECT_KEY = f"SELECT mac, {', '.join(_KEY_COLUMNS)} FROM key"


class Stored(NamedTuple, Generic[Row]):
    """A row as read, and whether its MAC holds; what does not hold is never believed."""

    row: Row
    intact: bool


def span(column: str, low: str, high: str | None) -> tuple[str, tuple[str, ...]]:
    """Return what holds of the texts from one on and before another, and its values."""
    return (f"{column} >= ?", (low,)) if high is None else (f"{column} >= ? AND {column} < ?", (low, high))


def _untagged(row: Sequence[object]) -> Token:
    """Return a row as a token; its tags are not read and its MAC, the first column, is not checked."""
    return Token._make((*row[1 : _TAGS_AT + 1], (), (), (), *row[_TAGS_AT + 1 :]))


class Stretch(NamedTuple):
    """All that stands under the ids from one on and before another, which is ``None`` behind the last.

    Attributes:
        tokens: In the order of their ids.
        strays: The ids that tags name and no token has.
        end: Where the next stretch begins; ``None`` where this is the last.
    """

    tokens: list[Stored[Token]]
    strays: list[str]
    end: str | None


class Rows:
    """Reads and writes the rows of one store inside the caller's transaction."""

    def __init__(self, store: Store, protector: Protector) -> None:
        self._store = store
        self.protector = protector
        self._version = store.version
        columns = [f"token.{name}" if self._has(name) else f"NULL AS {name}" for name in _TOKEN_COLUMNS]
        self._select_token = f"SELECT mac, {', '.join(columns)} FROM token"

    def _has(self, column: str) -> bool:
        """Whether the store is new enough for a column: a reader takes an older one as it is."""
        return self._version >= ADDED_COLUMNS.get(column, 1)

    # Records

    def nonce_tag(self, seq: int, nonce: bytes) -> bytes:
        """Return what stands behind a record's nonce, so that a changed one is seen: the body only commits to it."""
        return self.protector.nonce_tag(seq, nonce)

    def nonce_intact(self, seq: int, stored: bytes) -> bool:
        nonce, tag = stored[:-NONCE_TAG_LENGTH], stored[-NONCE_TAG_LENGTH:]
        return hmac.compare_digest(tag, self.protector.nonce_tag(seq, nonce))

    # Tokens

    def token(self, identifier: str) -> Stored[Token] | None:
        row = self._store.row(f"{self._select_token} WHERE id = ?", identifier)
        return None if row is None else self._token(row)

    def tokens(self, identifiers: Sequence[str]) -> dict[str, Stored[Token]]:
        """Return the tokens of these ids that there are."""
        chosen = json.dumps(list(identifiers))
        tags: dict[object, list[Sequence[object]]] = {}
        for tag in self._store.rows(f"{_SELECT_TAGS} IN {_CHOSEN}", chosen):
            tags.setdefault(tag[3], []).append(tag)
        rows = self._store.rows(f"{self._select_token} WHERE id IN {_CHOSEN}", chosen)
        return {str(row[1]): self._with_tags(row, sorted(tags.get(row[1], ()))) for row in rows}  # type: ignore[type-var]  # TEXT

    def id_by_verifier(self, verifier: bytes) -> str | None:
        """Return the id of the token of a remote service that left this verifier."""
        sql = f"SELECT id FROM token WHERE verifier = ? AND {REMOTE}"
        identifier = self._store.value(sql, verifier)
        return None if identifier is None else str(identifier)

    def _token(self, row: Sequence[object]) -> Stored[Token]:
        return self._with_tags(row, self._store.rows(f"{_SELECT_TAGS} = ? ORDER BY name, value", row[1]))

    def _with_tags(self, row: Sequence[object], tagged: Iterable[Sequence[object]]) -> Stored[Token]:
        scope: list[str] = []
        audience: list[str] = []
        labels: list[tuple[str, str]] = []
        end, known = row[_EXPIRES_AT], True
        for name, value, expires_at, _ in tagged:
            text = str(value)
            if name == "scope":
                scope.append(text)
            elif name == "audience":
                audience.append(text)
            elif name == "label":
                label, _, text = text.partition("=")
                labels.append((label, text))
            else:
                known = False
            known = known and expires_at == end
        token = Token._make((*row[1 : _TAGS_AT + 1], tuple(scope), tuple(audience), tuple(labels), *row[_TAGS_AT + 1 :]))
        mac = row[0]
        intact = known and isinstance(mac, bytes) and hmac.compare_digest(mac, self.protector.token_mac(token))
        return Stored(row=token, intact=intact)

    def insert_tokens(self, tokens: Sequence[Token]) -> None:
        marks = ", ".join("?" * (len(_TOKEN_COLUMNS) + 1))
        self._store.run_many(
            f"INSERT INTO token (mac, {', '.join(_TOKEN_COLUMNS)}) VALUES ({marks})",
            [(self.protector.token_mac(token), *_token_columns(token)) for token in tokens],
        )
        tags: list[tuple[object, ...]] = []
        for token in tokens:
            tags += [("scope", value, token.expires_at, token.id) for value in token.scope]
            tags += [("audience", value, token.expires_at, token.id) for value in token.audience]
            tags += [("label", f"{name}={value}", token.expires_at, token.id) for name, value in token.labels]
        self._store.run_many("INSERT INTO tag VALUES (?, ?, ?, ?)", tags)

    def update_token(self, token: Token, *changed: str) -> None:
        """Write the named columns of a token, and its MAC."""
        self.update_tokens([token], *changed)

    def update_tokens(self, tokens: Sequence[Token], *changed: str) -> None:
        """Write the same columns of many tokens, and their MACs."""
        values = attrgetter(*changed, "id")
        self._store.run_many(
            f"UPDATE token SET mac = ?, {', '.join(f'{name} = ?' for name in changed)} WHERE id = ?",
            ((self.protector.token_mac(token), *values(token)) for token in tokens),
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

    def observe_delivery(self, identifiers: Sequence[str], at: int, *, issued_after: int) -> list[str]:
        """Write that tokens were delivered; return those that were issued too early for it, or revoked meanwhile."""
        sql = "UPDATE token SET delivered_at = ? WHERE id = ? AND revoked_at IS NULL AND issued_at > ?"
        if self._store.run_many(sql, ((at, identifier, issued_after) for identifier in identifiers)) == len(identifiers):
            return []
        late = "SELECT 1 FROM token WHERE id = ? AND revoked_at IS NULL AND issued_at > ?"
        return [identifier for identifier in identifiers if self._store.value(late, identifier, issued_after) is None]

    def successors_among(self, identifiers: Sequence[str]) -> list[str]:
        """Return those of these ids that replace another token."""
        sql = f"SELECT id FROM token WHERE +replaces IS NOT NULL AND id IN {_CHOSEN}"  # led by the ids, however many successors
        return [str(row[0]) for row in self._store.rows(sql, json.dumps(list(identifiers)))]

    def successors_of(self, identifier: str) -> list[str]:
        """Return the ids of the tokens that were issued to replace a token."""
        if not self._has("grace"):
            return []
        return [str(row[0]) for row in self._store.rows("SELECT id FROM token WHERE replaces = ? ORDER BY id", identifier)]

    def ended_graces(self, now: int, *, limit: int) -> list[str]:
        """Return the unrevoked tokens whose grace is over, but for those that their suspension had ended by then."""
        if not self._has("grace"):
            return []  # a store of that time has no index of them, and nothing was replaced
        sql = """SELECT id FROM token WHERE grace_until IS NOT NULL AND revoked_at IS NULL AND grace_until <= ?
                 AND NOT (suspended_until IS NOT NULL AND suspended_until <= grace_until AND suspended_then IS 'revoke')
                 ORDER BY grace_until LIMIT ?"""
        return [str(row[0]) for row in self._store.rows(sql, now, limit)]

    def newest_leaf(self, target: str, operation: str | None = None) -> int:
        """Return the number of the newest record about a target, or of its newest one of an operation; zero for none."""
        if operation is None:
            return self._store.integer("SELECT max(seq) FROM record WHERE target = ?", target)
        return self._store.integer("SELECT max(seq) FROM record WHERE target = ? AND +operation = ?", target, operation)

    def newest_leaves(self, targets: Sequence[str]) -> dict[str, int]:
        """Return :meth:`newest_leaf` of each target that has one."""
        sql = "SELECT value, (SELECT max(seq) FROM record WHERE target = value) FROM json_each(?)"
        found = self._store.rows(sql, json.dumps(list(targets)))
        return {str(target): seq for target, seq in found if isinstance(seq, int)}

    def marks(self, identifiers: Sequence[str]) -> dict[str, tuple[object, ...]]:
        """Return what every change of a token leaves in its row: its newest record, and since when it is denied."""
        sql = f"SELECT id, leaf, revoked_at, suspended_at FROM token WHERE id IN {_CHOSEN}"
        return {str(row[0]): row[1:] for row in self._store.rows(sql, json.dumps(list(identifiers)))}

    def newest_operation(self, target: str) -> str | None:
        """Return what the newest record about a target tells of."""
        operation = self._store.value("SELECT operation FROM record WHERE target = ? ORDER BY seq DESC LIMIT 1", target)
        return None if operation is None else str(operation)

    def children(self, identifier: str) -> list[str]:
        return [str(row[0]) for row in self._store.rows("SELECT id FROM token WHERE parent = ? ORDER BY id", identifier)]

    def parents_among(self, identifiers: Sequence[str]) -> set[str]:
        """Return those of these ids that have children."""
        sql = f"SELECT DISTINCT parent FROM token WHERE parent IN {_CHOSEN}"
        return {str(row[0]) for row in self._store.rows(sql, json.dumps(list(identifiers)))}

    def offspring(self, identifiers: Sequence[str]) -> Iterator[tuple[str, bool]]:
        """Yield the children of all these, and whether each is unrevoked."""
        sql = f"SELECT id, revoked_at IS NULL FROM token WHERE parent IN {_CHOSEN}"
        for identifier, alive in self._store.rows(sql, json.dumps(list(identifiers))):
            yield str(identifier), bool(alive)

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

    def given(self, parent: str, *, now: int, undelivered_since: int, ended: Sequence[str]) -> int:
        """Return how many uses of a token its children have: what the living may use, and what the others and theirs have used.

        One whose children were kept counts as living. ``ended`` are tokens whose run has ended.
        """
        return self._store.integer(_GIVEN, parent, now, undelivered_since, json.dumps(list(ended)))

    def undelivered(self, before: int, *, limit: int) -> list[str]:
        """Return the ids of tokens issued before an instant whose delivery is not known."""
        sql = f"""SELECT id FROM token WHERE delivered_at IS NULL AND revoked_at IS NULL AND issued_at <= ? AND NOT ({REMOTE})
                 LIMIT ?"""
        return [str(row[0]) for row in self._store.rows(sql, before, limit)]

    def living_of(
        self, owner: str, kinds: Sequence[str], *, now: int, undelivered_since: int
    ) -> list[tuple[str, str | None, int]]:
        """Count the tokens of an owner that may still be accepted, by subject and run.

        One that a living token replaces is left out: that one counts for both. A chain of replacements hides no more than
        its last link but one.
        """
        run = "run" if self._has("run") else "NULL"
        sql = f"""SELECT subject, {run}, count(*) FROM token
            WHERE owner = ? AND expires_at > ? AND revoked_at IS NULL AND kind IN ({", ".join("?" * len(kinds))})
            AND (delivered_at IS NOT NULL OR issued_at > ? OR ({REMOTE})) AND (max_uses IS NULL OR uses < max_uses)
            AND (grace_until IS NULL OR grace_until > ?)
            AND (kid IS NULL OR kid NOT IN (SELECT kid FROM key WHERE state = 'compromised'))
            AND (replaced_by IS NULL OR NOT EXISTS (SELECT 1 FROM token AS next WHERE next.id = token.replaced_by
                AND next.revoked_at IS NULL AND next.expires_at > ? AND next.grace_until IS NULL
                AND (next.kid IS NULL OR next.kid NOT IN (SELECT kid FROM key WHERE state = 'compromised'))))
            GROUP BY 1, 2"""
        found = self._store.rows(sql, owner, now, *kinds, undelivered_since, now, now)
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

    def returned(self, request: str, actor: str, *, undelivered_since: int) -> int:
        """Return how many uses come back to a parent from those of :meth:`replaceable` that have no children themselves."""
        return self._store.integer(
            """SELECT sum(max_uses - uses) FROM token WHERE request = ? AND issued_by = ? AND delivered_at IS NULL
               AND revoked_at IS NULL AND issued_at > ?
               AND NOT EXISTS (SELECT 1 FROM token AS child WHERE child.parent = token.id)""",
            request, actor, undelivered_since,
        )  # fmt: skip

    def running(self) -> list[tuple[str, str]]:
        """Return the unrevoked tokens that live with a process: id and run."""
        if not self._has("run"):
            return []
        sql = "SELECT id, run FROM token WHERE run IS NOT NULL AND revoked_at IS NULL"
        return [(str(token), str(run)) for token, run in self._store.rows(sql)]

    def ended_suspensions(self, now: int, *, limit: int) -> list[tuple[str, str | None]]:
        """Return the unrevoked tokens whose suspension has ended: id and what comes then."""
        if not self._has("run"):
            return []  # a store of that time has no suspensions, and no index of them
        sql = """SELECT id, suspended_then FROM token WHERE suspended_until IS NOT NULL AND revoked_at IS NULL
                 AND suspended_until <= ? ORDER BY suspended_until LIMIT ?"""
        return [(str(row[0]), None if row[1] is None else str(row[1])) for row in self._store.rows(sql, now, limit)]

    def survey(self, identifiers: Sequence[str]) -> Iterator[Token]:
        """Yield the tokens of these ids without their tags and unchecked: enough to count, not to believe."""
        for row in self._store.rows(f"{self._select_token} WHERE id IN {_CHOSEN}", json.dumps(list(identifiers))):
            yield _untagged(row)

    def survey_of(self, selector: Selector, *, now: int) -> Iterator[Token]:
        """Yield what :meth:`page` chooses like :meth:`survey`."""
        from tokenctl.store import choosing

        sql, parameters = choosing.statement(self._select_token, selector, now=now, batches=self._has("batch"))
        for row in self._store.rows(sql, *parameters):
            yield _untagged(row)

    def chosen(self, selector: Selector, *, now: int, limit: int) -> list[str]:
        """Return the ids of the first tokens that a selector's columns choose; states are the caller's to judge."""
        from tokenctl.store import choosing

        sql, parameters = choosing.statement("SELECT token.id FROM token", selector, now=now, batches=self._has("batch"))
        return [str(row[0]) for row in self._store.rows(f"{sql} LIMIT ?", *parameters, limit)]

    def choosing(self, column: str, selector: Selector, *, now: int) -> tuple[str, list[object]]:
        """Return what holds where a column names a token that :meth:`chosen` means, and its values."""
        from tokenctl.store import choosing

        return choosing.condition(column, selector, now=now, batches=self._has("batch"))

    def page(
        self, selector: Selector, *, now: int, after: tuple[int, str] | None = None, limit: int
    ) -> list[tuple[int, str]]:  # fmt: skip
        """Return where the next tokens stand that a selector's columns choose, in order; states are the caller's to judge."""
        from tokenctl.store import choosing

        sql, parameters = choosing.statement(
            "SELECT token.expires_at, token.id FROM token", selector, now=now, after=after, batches=self._has("batch")
        )
        return [(int(str(at)), str(identifier)) for at, identifier in self._store.rows(f"{sql} LIMIT ?", *parameters, limit)]

    def total(self) -> int:
        """Return how many tokens there are: none is ever deleted."""
        return self._store.integer("SELECT max(rowid) FROM token")

    def tokens_behind(self, number: int, *, limit: int) -> list[tuple[int, Stored[Token]]]:
        """Return the next tokens in the order of their making: the number of each row, and the token."""
        numbers = "SELECT rowid, id FROM token WHERE rowid > ? ORDER BY rowid LIMIT ?"
        found = [(int(str(row[0])), str(row[1])) for row in self._store.rows(numbers, number, limit)]
        known = self.tokens([identifier for _, identifier in found])
        return [(each, known[identifier]) for each, identifier in found]

    def in_chunks(self, condition: str, *values: object, size: int) -> Iterator[list[str]]:
        """Yield the ids of the tokens for which a condition holds, so many at once, in the order in which they were issued.

        The rows of a chunk may be changed before the next one is asked for.
        """
        sql, last = f"SELECT rowid, id FROM token WHERE ({condition}) AND rowid > ? ORDER BY rowid LIMIT ?", 0
        while chunk := list(self._store.rows(sql, *values, last, size)):
            last = int(str(chunk[-1][0]))
            yield [str(identifier) for _, identifier in chunk]

    def stretch(self, low: str, high: str | None, *, limit: int) -> Stretch:
        """Return so many tokens with ids from one on and before another; ``None`` bounds nothing."""
        among, bounds = span("id", low, high)
        rows = list(self._store.rows(f"{self._select_token} WHERE {among} ORDER BY id LIMIT ?", *bounds, limit))
        end = f"{rows[-1][1]}\0" if len(rows) == limit else high  # no id lies between one and that
        among, bounds = span("token", low, end)
        tags: dict[object, list[Sequence[object]]] = {}
        for tag in self._store.rows(f"SELECT name, value, expires_at, token FROM tag WHERE {among} ORDER BY token", *bounds):
            tags.setdefault(tag[3], []).append(tag)
        tokens = [self._with_tags(row, sorted(tags.pop(row[1], ()))) for row in rows]  # type: ignore[type-var]  # TEXT
        return Stretch(tokens, sorted(map(str, tags)), end)

    # Keys

    def key(self, kid: str) -> Stored[Key] | None:
        row = self._store.row(f"{_SELECT_KEY} WHERE kid = ?", kid)
        return None if row is None else self._key(row)

    def every_key(self) -> list[Stored[Key]]:
        return [self._key(row) for row in self._store.rows(f"{_SELECT_KEY} ORDER BY created_at, kid")]

    def _key(self, row: Sequence[object]) -> Stored[Key]:
        key = Key(**dict(zip(_KEY_COLUMNS, row[1:], strict=True)))  # type: ignore[arg-type]  # STRICT columns
        mac = row[0]
        intact = isinstance(mac, bytes) and hmac.compare_digest(mac, self.protector.key_mac(key))
        return Stored(row=key, intact=intact)

    def insert_key(self, key: Key) -> None:
        marks = ", ".join("?" * (len(_KEY_COLUMNS) + 1))
        self._store.run(
            f"INSERT INTO key (mac, {', '.join(_KEY_COLUMNS)}) VALUES ({marks})",
            self.protector.key_mac(key),
            *(getattr(key, name) for name in _KEY_COLUMNS),
        )

    def keys_made(self) -> int:
        """Return how many keys the log knows."""
        return self._store.integer("SELECT count(*) FROM record WHERE operation = 'key.create'")

    def condemn_key(self, key: Key, *changed: str) -> None:
        """Write a denial into a row whose MAC does not hold, and leave the MAC broken: it stays evidence."""
        self._store.run(
            f"UPDATE key SET {', '.join(f'{name} = ?' for name in changed)} WHERE kid = ?",
            *(getattr(key, name) for name in changed),
            key.kid,
        )

    def update_key(self, key: Key, *changed: str) -> None:
        """Write the named columns of a key, and its MAC."""
        self._store.run(
            f"UPDATE key SET mac = ?, {', '.join(f'{name} = ?' for name in changed)} WHERE kid = ?",
            self.protector.key_mac(key),
            *(getattr(key, name) for name in changed),
            key.kid,
        )

    def owners_under(self, kid: str, now: int) -> list[tuple[str, int]]:
        """Count the unexpired, unrevoked tokens that a key signed by owner, most first."""
        sql = """SELECT owner, count(*) FROM token WHERE kid = ? AND expires_at > ? AND revoked_at IS NULL
                 GROUP BY owner ORDER BY 2 DESC, 1"""
        return [(str(owner), count) for owner, count in self._store.rows(sql, kid, now) if isinstance(count, int)]

    def living_under(self, kid: str, now: int) -> int:
        """Return how many unexpired, unrevoked tokens a key signed."""
        return self._store.integer("SELECT count(*) FROM token WHERE kid = ? AND expires_at > ? AND revoked_at IS NULL", kid, now)

    def signed_by(self, kid: str) -> int:
        """Return how many tokens a key signed, of whatever state."""
        return self._store.integer("SELECT count(*) FROM token WHERE kid = ?", kid)

    def last_expiry_under(self, kid: str, *, revoked: bool = False) -> int | None:
        """Return when the last token that a key signed ends; the revoked ones count only for who cannot know of it."""
        living = "" if revoked else " AND revoked_at IS NULL"
        sql = f"SELECT expires_at FROM token WHERE kid = ?{living} ORDER BY expires_at DESC LIMIT 1"
        value = self._store.value(sql, kid)
        return value if isinstance(value, int) else None
