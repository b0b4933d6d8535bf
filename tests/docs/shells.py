"""Completion scripts for bash, zsh and fish: static, made from the grammar.

The three work alike: walk the words before the cursor, find the verb, and offer what can stand here. No script starts a
program, evaluates a word or substitutes a command on data. Names of profiles come from the shell's own directory listing,
and only those that tokenctl admits are offered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.docs.grammar import FILES, PROFILES, Parameter, Values, Verb

_TEMPLATES = Path(__file__).parent / "templates"


def bash(root: Verb) -> str:
    """Return ``tokenctl.bash``."""
    nodes = [
        f"    {_key(verb)})\n{_row('verbs', (inner.path[-1] for inner in verb.verbs))}"
        f"{_row('flags', (flag for _, flag in _each(verb)))}"
        f"      valued=' {' '.join(_valued(verb))} ' ;;"
        for verb in root.walk()
    ]  # fmt: skip
    return _fill("tokenctl.bash", root, nodes, "    {}) {} ;;", "_tokenctl_")


def zsh(root: Verb) -> str:
    """Return ``_tokenctl``."""

    def told(rows: Iterable[tuple[str, str]]) -> str:
        return "".join(f"        {_single(f'{word}:{_short(text)}')}\n" for word, text in rows)

    nodes = [
        f"    {_key(verb)})\n"
        f"      names=' {' '.join(inner.path[-1] for inner in verb.verbs)} '\n"
        f"      verbs=(\n{told((inner.path[-1], inner.help) for inner in verb.verbs)}      )\n"
        f"      flags=(\n{told((flag, option.help) for option, flag in _each(verb))}      )\n"
        f"      valued=' {' '.join(_valued(verb))} ' ;;"
        for verb in root.walk()
    ]  # fmt: skip
    return _fill("_tokenctl", root, nodes, "    ({}) {} ;;", "_tokenctl_")


def fish(root: Verb) -> str:
    """Return ``tokenctl.fish``."""

    def told(name: str, rows: Iterable[tuple[str, str]]) -> str:
        return "".join(f"            set -a {name} {_fish(word)}\\t{_fish(_short(text))}\n" for word, text in rows)

    nodes = [
        f"        case {_key(verb)}\n"
        f"            set {' '.join(('verbs', *(inner.path[-1] for inner in verb.verbs)))}\n"
        f"            set verbs_told\n{told('verbs_told', ((inner.path[-1], inner.help) for inner in verb.verbs))}"
        f"            set flags_told\n{told('flags_told', ((flag, option.help) for option, flag in _each(verb)))}"
        f"            set valued {' '.join(_valued(verb))}"
        for verb in root.walk()
    ]  # fmt: skip
    head, offer = "        case {}\n            {}", "__tokenctl_"
    return _fill("tokenctl.fish", root, nodes, head, offer, separator=" ")


def _fill(name: str, root: Verb, nodes: Iterable[str], case: str, offer: str, *, separator: str = "|") -> str:
    """Put the parts into a template: ``case`` is one branch of a switch, with its patterns and its action."""

    quoted = _single if separator == " " else _pattern

    def branches(rows: Iterable[tuple[Values, list[str]]]) -> str:
        return "\n".join(case.format(separator.join(map(quoted, patterns)), _offer(kind, offer)) for kind, patterns in rows)

    commands = separator.join(_key(verb) for verb in root.walk() if verb.command) or "'--'"
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    for mark, part in (
        ("nodes", "\n".join(nodes)), ("values", branches(_by_kind(root))), ("positions", branches(_positions(root))),
        ("commands", commands),
    ):  # fmt: skip
        text = text.replace(f"@{mark}@", part)
    return text


def _each(verb: Verb) -> Iterator[tuple[Parameter, str]]:
    return ((option, flag) for option in (*verb.options, *verb.shared) for flag in option.flags)


def _valued(verb: Verb) -> list[str]:
    return [flag for option, flag in _each(verb) if option.metavar]


def _by_kind(root: Verb) -> list[tuple[Values, list[str]]]:
    """Return each kind of value with the ``verb:--option`` patterns that take it; ``*`` where every verb agrees."""
    kinds: dict[str, dict[str, Values]] = {}
    for verb in root.walk():
        for option, flag in _each(verb):
            if option.metavar:
                kinds.setdefault(flag, {})[verb.name] = option.values
    found: dict[Values, list[str]] = {}
    for flag, by_verb in kinds.items():
        agreed = len(set(by_verb.values())) == 1
        for name, kind in [("*", next(iter(by_verb.values())))] if agreed else by_verb.items():
            found.setdefault(kind, []).append(f"{name}:{flag}")
    return [(kind, patterns) for kind, patterns in found.items() if kind]


def _positions(root: Verb) -> list[tuple[Values, list[str]]]:
    """Return each kind of value with the ``verb:N`` patterns, N arguments given so far, whose next argument is of it."""
    found: dict[Values, list[str]] = {}
    for verb in root.walk():
        for argument in verb.arguments[:1]:
            found.setdefault(argument.values, []).append(f"{verb.name}:{'*' if argument.many else '0'}")
    return [(kind, patterns) for kind, patterns in found.items() if kind]


def _offer(kind: Values, prefix: str) -> str:
    if kind in (FILES, PROFILES):
        return f"{prefix}{kind}"
    return f"{prefix}words {' '.join(word if _plain(word) else _single(word) for word in kind)}"


def _pattern(text: str) -> str:
    """Return a case pattern, its star outside the quotes."""
    return "*".join(_single(part) if part else "" for part in text.split("*"))


def _row(name: str, words: Iterable[str]) -> str:
    return f"      {name}=({' '.join(words)})\n"


def _key(verb: Verb) -> str:
    return _single(verb.name)


def _short(text: str) -> str:
    return text.partition("\n")[0].rstrip(".")


def _plain(word: str) -> bool:
    return word.replace("-", "").replace("_", "").isalnum()


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
