"""Manual pages in mdoc(7), made from the grammar, the errors and the texts under ``prose/``.

A verb without a text of its own gets its page all the same. Pages of other sections are texts as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.docs.grammar import Parameter, Verb
from tests.docs.roff import argument, literal, text
from tokenctl import __version__, errors
from tokenctl.cli import help as help_end

DATE = "November 25, 2026"  # of the last change to what the pages say
_PROSE = Path(__file__).parent / "prose"
_DONE = "Done; every token named is active, or every target is denied."


def pages(root: Verb) -> dict[str, str]:
    """Return every page by its file name."""
    verbs = {f"{_title(verb)}.1": _page(verb, root) for verb in root.verbs}
    whole = {path.stem: _head(*path.stem.rsplit(".", 1)) + _filled(path) for path in sorted(_PROSE.glob("*.[5-8].mdoc"))}
    return {"tokenctl.1": _page(root, root)} | verbs | whole


def _page(verb: Verb, root: Verb) -> str:
    parts = [
        _head(_title(verb), "1"),
        _section("Name", [f".Nm {_title(verb)}", f".Nd {_lowered(verb.help)}"]),
        _section("Synopsis", [line for inner in _spoken(verb, root) for line in _synopsis(inner)]),
        _section("Description", [_prose(_title(verb)) or text(verb.help)]),
        _section("Verbs", _verbs(verb)) if verb is root else "",
        _section("Options", [*_list(verb), *_sub_verbs(verb, root), *_shared(verb, root)]),
        _prose(f"{_title(verb)}.more"),
        _section("Environment", [_prose("environment") if verb is root else ".Xr tokenctl 1 has the variables that matter."]),
        _section("Files", [_prose("files") if verb is root else ".Xr tokenctl 1 tells where things lie."]),
        _section("Exit status", _exit_status(verb, root)),
        _section("Examples", [literal(_examples(verb, root))]),
        _section("See also", _see_also(verb, root)),
    ]
    return "".join(parts)


def _head(title: str, section: str) -> str:
    return (
        f'.\\" Made by python -m tests.docs: do not edit.\n.Dd {DATE}\n'
        f".Dt {title.upper()} {section}\n.Os tokenctl {__version__}\n"
    )


def _section(name: str, lines: Iterable[str]) -> str:
    body = "\n".join(line.rstrip("\n") for line in lines)
    return f".Sh {name.upper()}\n{body}\n"


def _title(verb: Verb) -> str:
    return "-".join(("tokenctl", *verb.path))


def _lowered(help_text: str) -> str:
    first = help_text.partition("\n")[0].rstrip(".")
    return text(first[:1].lower() + first[1:]).replace("\n", " ")


def _prose(name: str) -> str:
    path = _PROSE / f"{name}.mdoc"
    return _filled(path) if path.exists() else ""


def _filled(path: Path) -> str:
    """Return a text; a line ``@name@`` in it stands for the text of that name, or for the table of exit codes."""

    def part(found: re.Match[str]) -> str:
        return "\n".join(_codes(range(1, 200))) + "\n" if found[1] == "exit-codes" else _filled(_PROSE / f"{found[1]}.mdoc")

    return re.sub(r"^@([a-z0-9-]+)@\n", part, path.read_text(encoding="utf-8"), flags=re.MULTILINE)


# Synopsis


def _spoken(verb: Verb, root: Verb) -> list[Verb]:
    """Return what can be typed: the verb where it acts by itself, and its sub-verbs; the root stands for all."""
    return [verb] if verb is root else [inner for inner in verb.walk() if inner.acts]


def _synopsis(verb: Verb) -> list[str]:
    lines = [f".Nm tokenctl {verb.name}".rstrip()]
    if not verb.path:
        lines += [".Op Ar options", ".Ar verb", ".Op Ar arguments"]
    for option in verb.options if verb.path else ():
        drawn = f"{_flags(option, ' | ')}{' ...' if option.many else ''}"
        lines.append(f".{drawn}" if option.required else f".Op {drawn}")
    return [*lines, *(argument(given.metavar or "") for given in verb.arguments)]


def _flags(option: Parameter, between: str) -> str:
    shown = between.join(f"Fl {flag[1:]}" for flag in option.flags)
    return f"{shown} Ar {option.metavar}" if option.metavar else shown


# Options


def _verbs(root: Verb) -> list[str]:
    rows = [f".It Xr {_title(verb)} 1\n{text(verb.help)}" for verb in root.verbs]
    return ["Each verb has a page of its own.", ".Bl -tag -width Ds", *rows, ".El"]


def _list(verb: Verb) -> list[str]:
    """Return the options of a verb itself, unless it stands for a sub-verb that has the same."""
    return [] if any(inner.options == verb.options for inner in verb.verbs) else _options([*verb.arguments, *verb.options])


def _options(options: Iterable[Parameter]) -> list[str]:
    rows = []
    for option in options:
        more = ["It can be given more than once."] if option.many and option.flags else []
        item = f".It {_flags(option, ' , ')}" if option.flags else f".It {argument(option.metavar or '', item=True)}"
        rows.append("\n".join([item, *filter(None, [text(option.help)]), *more]))
    return [".Bl -tag -width Ds", *rows, ".El"] if rows else []


def _sub_verbs(verb: Verb, root: Verb) -> list[str]:
    if verb is root:
        return []
    lines: list[str] = []
    for inner in [each for each in verb.walk() if each is not verb]:
        lines += [f".Ss {inner.name}", text(inner.help), *_options([*inner.arguments, *inner.options])]
    return lines


def _shared(verb: Verb, root: Verb) -> list[str]:
    """Return the options that stand before and after every verb: told once in full, in ``tokenctl.1`` and on each page."""
    where = [] if verb is root else [".Ss Options of every verb", "They stand before or after the verb."]
    shared = verb.shared if len(verb.shared) > 1 else next(inner.shared for inner in verb.verbs)
    return [*where, *_options(shared)]


# The end of a page


def _exit_status(verb: Verb, root: Verb) -> list[str]:
    if verb is root:
        return [".Bl -tag -width Ds", ".It 0", text(_DONE), *_codes(range(1, 200))[1:], _prose("exit-codes-of-many")]
    full = {kind.exit_code: kind.__doc__ or "" for kind in errors.TokenctlError.__subclasses__()}
    rows = [
        f".It {code}\n{text(full[code] if code in full and meaning == help_end._MEANINGS.get(code) else _sentence(meaning))}"
        for code, meaning in _codes_of(verb)
    ]
    return [".Bl -tag -width Ds", *rows, ".El", ".Pp", "Any verb may end with 1, a bug."]


def _codes(wanted: Iterable[int]) -> list[str]:
    known = {kind.exit_code: kind for kind in errors.TokenctlError.__subclasses__()}
    rows = [f".It {code} Pq {known[code].slug}\n{text(known[code].__doc__ or '')}" for code in wanted if code in known]
    return [".Bl -tag -width Ds", *rows, ".El"]


def _codes_of(verb: Verb) -> list[tuple[int, str]]:
    return sorted({code: meaning for inner in verb.walk() for code, meaning in inner.codes}.items())


def _sentence(meaning: str) -> str:
    return f"{meaning[:1].upper()}{meaning[1:]}."


def _examples(verb: Verb, root: Verb) -> list[str]:
    if verb is root:
        return [next(iter(inner.examples)) for inner in root.verbs if inner.examples]
    return list(dict.fromkeys(example for inner in verb.walk() for example in inner.examples))


def _see_also(verb: Verb, root: Verb) -> list[str]:
    names = [("tokenctl", "1"), *((_title(inner), "1") for inner in root.verbs)]
    names += [(path.stem.rsplit(".", 1)[0], path.stem.rsplit(".", 1)[1]) for path in sorted(_PROSE.glob("*.[5-8].mdoc"))]
    rows = [f".Xr {name} {section}" for name, section in sorted(names, key=lambda row: (row[1], row[0])) if name != _title(verb)]
    return [f"{row} ," for row in rows[:-1]] + rows[-1:]
