"""What a review looks for: the rules as data, and the thresholds that a profile may change."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from tokenctl.errors import InvalidRequest
from tokenctl.model.rules import fits
from tokenctl.model.times import DAY, parse_duration
from tokenctl.model.token import KINDS, LIFETIME_CAP

SEVERITIES = ("error", "warning", "note")  # the levels of SARIF 2.1.0, the worst first


class Rule(NamedTuple):
    """One mistake that is looked for.

    Attributes:
        id: Stable; a baseline and those who filter go by it.
        severity: One of ``SEVERITIES``.
        what: What is found, one sentence without a full stop.
        why: Why it is a mistake, and what ends it.
    """

    id: str
    severity: str
    what: str
    why: str


RULES = (
    Rule(
        "token-too-long-lived", "warning", "A living token is made for longer than its kind should live",
        "A token that leaks is good for as long as it lives. Revoke it, and issue one with a shorter lifetime.",
    ),
    Rule(
        "token-never-used", "note", "A living token was never used since its issue",
        "Nobody misses it but whoever finds it. JWTs are checked elsewhere, their use is not known and they are left out.",
    ),
    Rule(
        "token-unused", "warning", "A living token was not used for long",
        "Its work has ended and its rights have not. JWTs are checked elsewhere, their use is not known and they are left out.",
    ),
    Rule(
        "token-broad-scope", "warning", "A living token has a scope that covers nearly everything",
        "Whoever takes it has all of that. Revoke it, and issue one with the scopes that its work needs.",
    ),
    Rule(
        "token-no-audience", "note", "A living token names no audience",
        "Each service that it is shown to can show it to every other one. Revoke it, and issue one with --audience.",
    ),
    Rule(
        "token-expiring", "warning", "A living personal or service token ends soon and nothing replaces it",
        "What works with it stops then. The command issues its successor into a file; the old one goes on for a day.",
    ),
    Rule(
        "token-undelivered", "warning", "A token was issued, and whether it arrived is not known",
        "It is denied, and no record tells it yet. The command revokes it with its record and says how to issue it again.",
    ),
    Rule(
        "owner-many-tokens", "warning", "An owner has more living tokens than one can look after",
        "Nobody knows what each of them is for. The command revokes as many as are too many, those that end first.",
    ),
    Rule(
        "key-overdue", "error", "A signing key, or a step of its rotation, is overdue",
        "A key that signs for too long signs all the more for a thief. The command takes every due step.",
    ),
    Rule(
        "intent-orphaned", "error", "A service was asked for a change, and what came of it is not known",
        "There may be a token that nobody here has, or one that is still accepted. The command asks the service and settles it.",
    ),
    Rule(
        "revocation-unfinished", "error", "A service was to revoke a token, and it was not denied the last time it was asked",
        "It may still be accepted. The command revokes it again; where the service takes no id, pipe in the token itself.",
    ),
    Rule(
        "root-secret-in-file", "note", "The root secret lies in a key file",
        "Whoever copies the home directory has the store and what opens it. The command moves it to the keyring of the session; "
        "cron has none, and a machine without one keeps the file and takes this finding into its baseline.",
    ),
    Rule(
        "log-not-anchored", "warning", "The log has old records that no exported checkpoint holds",
        "Who holds the key of the log could rewrite them unseen. Keep the file that the command writes on another machine.",
    ),
)  # fmt: skip
BY_ID = MappingProxyType({rule.id: rule for rule in RULES})


class Review(NamedTuple):
    """From where on something is a mistake; durations in milliseconds.

    Attributes:
        max_lifetime: By kind, how long a token may be made for; without a policy nothing longer is issued.
        never_used: How long after its issue a token may be without a first use.
        unused: How long after its last use it may be without another.
        expiring: How long before its end a token should be replaced.
        checkpoint: How old a record may grow that no exported checkpoint holds.
        tokens_per_owner: How many living tokens one owner may have.
        broad_scopes: Patterns of scopes that are broad; one with an asterisk of its own always is.
    """

    max_lifetime: Mapping[str, int] = MappingProxyType(LIFETIME_CAP)
    never_used: int = 14 * DAY
    unused: int = 30 * DAY
    expiring: int = 7 * DAY
    checkpoint: int = 7 * DAY
    tokens_per_owner: int = 50
    broad_scopes: tuple[str, ...] = ("admin", "admin:*", "*:admin")

    def broad(self, scope: str) -> bool:
        return "*" in scope or fits(self.broad_scopes, scope)


_DURATIONS = ("never_used", "unused", "expiring", "checkpoint")


def read_review(table: Mapping[str, object]) -> Review | str:
    """Read the table ``[review]`` of a profile; return what is wrong with it where something is."""
    known: dict[str, object] = {}
    for name, value in table.items():
        if name not in Review._fields:
            return f"[review] has an unknown setting; known: {', '.join(Review._fields)}"
        read: object = None
        if name in _DURATIONS:
            read, form = _duration(value), 'a duration in quotes, like "30d"'
        elif name == "max_lifetime":
            read, form = _lifetimes(value), 'a duration in quotes, or one for each kind: { access = "1h" }'
        elif name == "tokens_per_owner":
            read, form = value if type(value) is int and value > 0 else None, "a whole number, at least 1"
        else:
            texts = value if isinstance(value, list) else [None]
            form = "a list of patterns"
            read = tuple(texts) if all(isinstance(text, str) and text and text.isprintable() for text in texts) else None
        if read is None:
            return f"[review]: {name} is {form}"
        known[name] = read
    return Review(**known)  # type: ignore[arg-type]  # each was read by its name


def _duration(value: object) -> int | None:
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except InvalidRequest:
        return None


def _lifetimes(value: object) -> dict[str, int] | None:
    named = value if isinstance(value, dict) else dict.fromkeys(KINDS, value)
    read = {kind: _duration(each) for kind, each in named.items()}
    if not named.keys() <= set(KINDS):
        return None
    known = {kind: each for kind, each in read.items() if each is not None}
    return LIFETIME_CAP | known if len(known) == len(read) else None
