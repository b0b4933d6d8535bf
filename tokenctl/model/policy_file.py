"""What a policy file may say: from its tables to rules.

A profile's file and the ceiling speak the same language; its reference is README, "Policy". Every fault of a file is told
at once, with the rule it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tokenctl.errors import InvalidConfiguration, InvalidRequest
from tokenctl.model.rules import REQUIREMENTS, Rule, Rules
from tokenctl.model.times import format_duration, parse_duration
from tokenctl.model.token import DEFAULT_LIFETIME, FORMATS, KINDS, LABEL_NAME, LIFETIME_CAP

SETTINGS = ("default_lifetime", "max_lifetime", "rule")
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_LONGEST_TEXT = 1024  # characters
_MOST_LIVING = 1_000_000_000
_PATTERNS = {  # keys of a rule that are lists of patterns, by their field
    "subject": "subjects", "owners": "owners", "scopes": "scopes", "claims": "claims", "audiences": "audiences",
    "labels": "labels", "notes": "notes",
}  # fmt: skip
_RIGHTS = ("scopes", "wildcard_scopes", "claims", "require")  # may be empty: none of it
KEYS = ("name", "kinds", "formats", "wildcard_scopes", "require", "limit_per_owner", *SETTINGS[:2], *_PATTERNS)


def read_rules(tables: Mapping[str, object], path: str, *, place: str = "") -> Rules:
    """Read the tables of a policy file.

    Args:
        tables: What TOML gave.
        path: The file, for its faults.
        place: ``ceiling``, or nothing for a profile.

    Raises:
        InvalidConfiguration: with every fault (exit 9).
    """
    faults: list[str] = []
    reader = _Reader(faults, "")
    lifetimes = reader.lifetimes(tables, outer=LIFETIME_CAP, kinds=KINDS)
    raw = tables.get("rule", [])
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        faults.append("rule is written [[rule]]")
        raw = []
    rules = [_rule(table, number, faults, lifetimes["max_lifetime"]) for number, table in enumerate(raw, 1)]
    names = [rule.name for rule in rules]
    faults += [f"rule {name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    if place and ("default_lifetime" in tables or any("default_lifetime" in table for table in raw)):
        faults.append("default_lifetime: a ceiling gives no default")
    if faults:
        raise InvalidConfiguration(f"{path}: {'; '.join(faults)}", hint="mend it with an editor, then: tokenctl profile show")
    return Rules(rules, place=place, **lifetimes)


def _rule(table: Mapping[str, object], number: int, faults: list[str], longest: Mapping[str, int]) -> Rule:
    name = table.get("name")
    named = isinstance(name, str) and re.fullmatch(_NAME, name) is not None
    reader = _Reader(faults, f"rule {name if named else number}: ")
    if not named:
        reader.fault("name", "letters, digits and _ . - are needed, at most 64" if "name" in table else "is required")
    for key in sorted(set(table) - set(KEYS)):
        reader.fault(key, f"unknown; known: {', '.join(sorted(KEYS))}")
    fields: dict[str, Any] = {"name": name if named else str(number), "subjects": ()}
    for key, field in _PATTERNS.items():
        if key in table:
            fields[field] = reader.texts(table, key)
    if not table.get("subject"):
        reader.fault("subject", "is required: a pattern, for example ci-*, or a list of them")
    for key, choices in (("kinds", KINDS), ("formats", FORMATS)):
        if key in table:
            fields[key] = reader.texts(table, key, choices.__contains__, f"one of {', '.join(choices)}")
    if "wildcard_scopes" in table:
        fields["wildcard_scopes"] = reader.texts(
            table, "wildcard_scopes", lambda text: "*" in text, "has no *: write it in scopes"
        )
    if "labels" in table:
        fields["labels"] = tuple(text if "=" in text else f"{text}=*" for text in fields["labels"])
    if "require" in table:
        known = f"one of {', '.join(REQUIREMENTS)}, label:NAME"
        fields["require"] = reader.texts(table, "require", _is_requirement, known)
    if "limit_per_owner" in table:
        fields["limit_per_owner"] = reader.number(table, "limit_per_owner")
    kinds = tuple(kind for kind in fields.get("kinds", KINDS) if kind in KINDS)
    fields |= reader.lifetimes(table, outer={**LIFETIME_CAP, **longest}, kinds=kinds)
    return Rule(**fields)


def _is_requirement(word: str) -> bool:
    return word in REQUIREMENTS or re.fullmatch(f"label:{LABEL_NAME}", word) is not None


class _Reader:
    """Reads the values of one table, and collects what is wrong with them."""

    def __init__(self, faults: list[str], where: str) -> None:
        self._faults = faults
        self._where = where

    def fault(self, key: str, text: str) -> None:
        told = key if key.isprintable() and len(key) <= _LONGEST_TEXT else "a key"
        self._faults.append(f"{self._where}{told}: {text}")

    def texts(
        self, table: Mapping[str, object], key: str, admitted: Callable[[str], bool] = lambda _: True, wanted: str = ""
    ) -> tuple[str, ...]:
        """Read a text or a list of texts; sorted, since their order says nothing."""
        value = table[key]
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
            self.fault(key, "is a text or a list of texts")
            return ()
        if not values and key not in _RIGHTS:
            self.fault(key, "is an empty list, which nothing fits; leave it out to say nothing")
        for text in values:
            if not text or len(text) > _LONGEST_TEXT or not text.isprintable():
                self.fault(key, f"a text is empty, longer than {_LONGEST_TEXT} characters or not printable")
            elif "scopes" in key and " " in text:
                self.fault(key, "one scope a text, without a space")
            elif not admitted(text):
                self.fault(key, f"{text}: {wanted}")
        return tuple(sorted(set(values)))

    def number(self, table: Mapping[str, object], key: str) -> int | None:
        value = table[key]
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_LIVING:
            return value
        self.fault(key, f"is a number from 1 to {_MOST_LIVING}")
        return None

    def lifetimes(
        self, table: Mapping[str, object], *, outer: Mapping[str, int], kinds: tuple[str, ...]
    ) -> dict[str, dict[str, int]]:
        """Read both lifetimes by kind; a default that would always be refused is a fault."""
        longest = self._by_kind(table, "max_lifetime", kinds)
        default = self._by_kind(table, "default_lifetime", kinds)
        for kind, lifetime in default.items():
            most = longest.get(kind, outer[kind])
            if lifetime > most:
                told = f"{format_duration(lifetime)} for {kind} is more than its max_lifetime, {format_duration(most)}"
                self.fault("default_lifetime", told)
        return {"default_lifetime": default, "max_lifetime": longest}

    def _by_kind(self, table: Mapping[str, object], key: str, kinds: tuple[str, ...]) -> dict[str, int]:
        value = table.get(key, {})
        by_kind: Mapping[str, object] = dict.fromkeys(kinds, value) if isinstance(value, str) else {}
        if isinstance(value, dict):
            by_kind = value
        elif not isinstance(value, str):
            self.fault(key, 'is a duration, "30d", or one for each kind, { personal = "30d" }')
        found = {}
        told = set()
        for kind, text in by_kind.items():
            if kind not in DEFAULT_LIFETIME:
                self.fault(key, f"names a kind that is none of {', '.join(KINDS)}")
                continue
            try:
                found[kind] = parse_duration(text if isinstance(text, str) else "")
            except InvalidRequest as error:
                if str(text) not in told:
                    self.fault(key, f"{error.message} ({error.hint})")
                told.add(str(text))
        return found
