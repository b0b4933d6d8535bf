"""What is generated is what is committed, and the manual pages are pages that the manual's own programs accept."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.docs import ROOT, generate, grammar
from tests.docs.roff import argument, literal, text
from tokenctl import config, errors
from tokenctl.cli.app import VERBS

PAGES = sorted((ROOT / "man").rglob("*.[1-8]"))


def run(*arguments: str, **env: str) -> str:
    """Run a program of the machine; return its stdout, and fail where it says anything on stderr."""
    if shutil.which(arguments[0]) is None:
        missing(arguments[0])
    done = subprocess.run(
        arguments, env={"PATH": f"{os.environ['PATH']}:/usr/sbin", "LANG": "C.UTF-8"} | env, capture_output=True, text=True,
        timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), (arguments, done.stdout, done.stderr)
    return done.stdout


def rendered(page: Path) -> str:
    """Return a page as ``man`` shows it, without line breaks inside words."""
    shown = run("man", "-l", str(page), MANWIDTH="80", MAN_KEEP_FORMATTING="", LC_ALL="C.UTF-8")
    return re.sub(r"[\u2010-]\n +", "", shown)


def test_what_is_committed_is_what_is_generated() -> None:
    made = generate()
    committed = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("completions", "man") for path in (ROOT / folder).rglob("*") if path.is_file()
    }  # fmt: skip
    assert sorted(committed) == sorted(made)
    drifted = [name for name in made if made[name] != committed[name]]
    assert drifted == [], "run: python -m tests.docs"


def test_what_is_generated_names_no_place_of_this_machine() -> None:
    for name, made in generate().items():
        assert str(ROOT) not in made, name
        assert str(Path.home()) not in made or str(Path.home()) == "/", name


def test_every_verb_has_a_page_and_nothing_else_does() -> None:
    assert {page.name for page in PAGES if page.suffix == ".1"} == {"tokenctl.1", *(f"tokenctl-{verb}.1" for verb in VERBS)}


def test_mandoc_finds_nothing_to_say(tmp_path: Path) -> None:
    tree = tmp_path / "man"
    shutil.copytree(ROOT / "man", tree)
    if shutil.which("mandoc") is None:
        missing("mandoc")
    run("makewhatis", str(tree))  # without it every reference to another page is unknown
    assert run("mandoc", "-Tlint", "-W", "style", *map(str, tree.rglob("*.[1-8]")), MANPATH=str(tree)) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_shows_a_page_within_80_columns(page: Path) -> None:
    shown = run("man", "--warnings", "-l", str(page), MANWIDTH="80", LC_ALL="C.UTF-8")
    typed = {example for verb in grammar.read().walk() for example in verb.examples}  # is never broken
    assert [line for line in shown.splitlines() if len(line) > 80 and line.strip() not in typed] == []
    assert shown.splitlines()[0].startswith(f"{page.stem.upper()}({page.suffix[1:]})")


def test_man_finds_the_pages_by_name() -> None:
    for name in ("tokenctl.1", "tokenctl-issue.1", "tokenctl-config.5", "tokenctl-security.7"):
        assert run("man", "-M", str(ROOT / "man"), "-w", name[:-2]) == f"{ROOT}/man/man{name[-1]}/{name}\n"


@pytest.mark.parametrize("verb", list(VERBS))
def test_a_page_tells_what_help_tells(cli, verb: str) -> None:
    node = next(each for each in grammar.read().verbs if each.path == (verb,))
    shown = rendered(ROOT / "man" / "man1" / f"tokenctl-{verb}.1")
    words = " ".join(shown.split())
    for inner in node.walk():
        helped = " ".join(cli(*inner.path, "--help").out.split())
        for flag in (flag for option in (*inner.options, *inner.shared) for flag in option.flags):
            assert flag in helped
            assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", words), flag
        for example in inner.examples:
            assert example in shown
            assert example in helped
        for code, _ in inner.codes:
            assert re.search(rf"^     {code}  ", shown, re.MULTILINE), code
    assert len(node.examples) >= 3 or node.verbs


def test_what_a_verb_cannot_do_without_stands_in_no_brackets() -> None:
    words = " ".join(rendered(ROOT / "man" / "man1" / "tokenctl-audit.1").split())
    assert "tokenctl audit archive --before T --out FILE [-n | --dry-run] [-y | --yes]" in words


def test_the_first_page_has_every_exit_code() -> None:
    shown = rendered(ROOT / "man" / "man1" / "tokenctl.1")
    for kind in errors.TokenctlError.__subclasses__():
        assert f"{kind.exit_code} ({kind.slug})" in shown


def test_every_setting_of_a_profile_is_told() -> None:
    page = (ROOT / "man" / "man5" / "tokenctl-config.5").read_text()
    settings = page.partition(".Ss Settings\n")[2].partition(".Ss ")[0]
    told = set(re.findall(r"^\.It Cm (\w+)$", settings, re.MULTILINE))
    assert told == {*config._STRINGS, *config._OTHERS}, "tests/docs/prose/tokenctl-config.5.mdoc"
    assert [table for table in config._POLICY if table not in page] == []


@pytest.mark.parametrize(
    ("words", "roff"),
    [
        (".TH is no request", "\\&.TH is no request"),
        ("'q is no request", "\\(aqq is no request"),
        ("a\\b", "a\\eb"),
        ("or - to read --all of a read-only disk", "or \\- to read \\-\\-all of a read-only disk"),
        ("One. Two.", "One.\nTwo."),
    ],
)
def test_no_text_is_read_as_a_request(words: str, roff: str) -> None:
    assert text(words) == roff


def test_what_is_typed_stays_as_it_is_typed(tmp_path: Path) -> None:
    typed = ["tokenctl list --subject 'ci-*' `x` ^ ~ \\n \"q\"", ".dot", "'quote"]
    page = tmp_path / "t.1"
    head = '.Dd November 25, 2026\n.Dt T 1\n.Os\n.Sh NAME\n.Nm t\n.Nd t\n.Sh EXAMPLES\n'
    page.write_text(f"{head}{literal(typed)}\n")
    shown = run("man", "-l", str(page), MANWIDTH="80", LC_ALL="C.UTF-8")
    for line in typed:
        assert f"\n     {line}\n" in shown


@pytest.mark.parametrize(
    ("metavar", "drawn"),
    [
        ("ID", ".Ar ID"),
        ("[ID... | -]", ".Op Ar ID ... | Fl"),
        ("[-- CMD...]", ".Op Fl - Ar CMD ..."),
        ("bash|zsh|fish", ".Cm bash | Cm zsh | Cm fish"),
        ("FILE|URL", ".Ar FILE|URL"),
    ],
)
def test_an_argument_is_drawn_as_its_metavar_says(metavar: str, drawn: str) -> None:
    assert argument(metavar) == drawn
