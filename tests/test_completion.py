"""Completion in the real shells: what is offered, and that a hostile name runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer

from tests.docs import ROOT, grammar, shells
from tests.shells import SHELLS, Bash, BashWithPackage, Fish, Shell, Zsh
from tokenctl.cli.app import VERBS
from tokenctl.model.token import KINDS, REASONS, STATES

SCRIPTS = ROOT / "completions"
NAMES = ("prod", "a:b", "x" * 64)
HOSTILE = (
    "$(touch X)", "`touch X`", ";touch X;", "a b", "new\nline", "esc\x1b[31m", "-rf", ".hidden", "é", "x" * 65, "*", "~", "q'\"q",
)  # fmt: skip
PROFILES = {"local", *NAMES}
AUDIT = {"log", "show", "verify", "checkpoint", "review", "reconcile", "archive"}
TABLE = {
    "verbs": ("tokenctl ", set(VERBS)),
    "a verb behind global options": ("tokenctl -q -o json insp", {"inspect"}),
    "sub-verbs": ("tokenctl audit ", AUDIT),
    "an output of one verb alone": ("tokenctl audit review -o s", {"sarif"}),
    "and of no other": ("tokenctl audit log -o ", {"text", "json", "jsonl"}),
    "sub-verbs behind global options": ("tokenctl -p prod rotate-keys -v stat", {"status"}),
    "global options before the verb": ("tokenctl --cred", {"--credential-file", "--credential-fd"}),
    "global options behind the verb": ("tokenctl store release --cred", {"--credential-file", "--credential-fd"}),
    "options of the verb": ("tokenctl list --issued", {"--issued-after", "--issued-before"}),
    "options where nothing else stands": ("tokenctl audit show --q", {"--quiet"}),
    "the value of an option is no verb": ("tokenctl issue --subject audit --ki", {"--kind"}),
    "kinds": ("tokenctl issue --kind ", set(KINDS)),
    "states": ("tokenctl list --state ", {*STATES, "undelivered", "all"}),
    "reasons": ("tokenctl revoke --reason ", set(REASONS)),
    "a reason that is free text": ("tokenctl store release --reason ", set()),
    "outputs": ("tokenctl -o ", {"text", "json", "jsonl"}),
    "shells": ("tokenctl completion ", {"bash", "zsh", "fish"}),
    "places of the root secret": ("tokenctl store move-secret ", {"keyring", "file", "credential"}),
    "one argument where one is taken": ("tokenctl completion bash ba", set()),
    "what a store holds is never offered": ("tokenctl revoke --subject ", set()),
    "an unknown verb": ("tokenctl nonsense -", {"-V", "--version"}),
    "profiles": ("tokenctl -p ", PROFILES),
    "profiles behind the verb": ("tokenctl list --profile ", PROFILES),
    "a profile to use": ("tokenctl profile use ", PROFILES),
    "a profile to remove": ("tokenctl profile remove p", {"prod"}),
    "a new profile": ("tokenctl profile add p", set()),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose profile directory holds good and hostile names."""
    folder = tmp_path / "home" / ".config" / "tokenctl" / "profiles"
    folder.mkdir(parents=True)
    for name in (*NAMES, *HOSTILE):
        (folder / f"{name}.toml").touch()
    (folder / "no-profile").touch()
    return tmp_path / "home"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("case", TABLE)
def test_a_tab_offers_what_can_stand_there(home: Path, shell: type[Shell], case: str) -> None:
    line, expected = TABLE[case]
    found = shell(home, SCRIPTS).offers(line)
    assert (set(found) >= expected) if case == "an unknown verb" else sorted(found) == sorted(expected)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_value_behind_an_equals_sign_is_completed(home: Path, shell: type[Shell]) -> None:
    found = shell(home, SCRIPTS).offers("tokenctl issue --kind=ac")
    assert found == (["--kind=access"] if shell is Fish else ["access"])


@pytest.mark.parametrize("shell", [Bash, Zsh])
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("tokenctl rot", "tokenctl rotate-keys "),
        ("tokenctl -p pr", "tokenctl -p prod "),
        ("tokenctl -p a:", "tokenctl -p a:b "),
        ("tokenctl --profile=a:", "tokenctl --profile=a:b "),
        ("tokenctl issue --kind=p", "tokenctl issue --kind=personal "),
        ("tokenctl revoke --from to", "tokenctl revoke --from token.txt "),
    ],
)
def test_a_tab_at_a_terminal_completes_the_word(home: Path, shell: type[Shell], line: str, completed: str) -> None:
    (home / "token.txt").touch()
    assert shell(home, SCRIPTS).typed(line) == completed


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", ["tokenctl -p ", "tokenctl profile use ", "tokenctl --profile="])
def test_a_hostile_profile_name_runs_nothing_and_is_not_offered(home: Path, shell: type[Shell], line: str) -> None:
    before = {path.name for path in home.rglob("*")}
    for word in shell(home, SCRIPTS).offers(line):
        assert word.removeprefix("--profile=") in PROFILES
    assert not {path.name for path in home.rglob("*")} & ({"X", "X;"} - before)


@pytest.mark.parametrize("shell", [Bash, Zsh])
@pytest.mark.parametrize(
    "line", ["tokenctl -p $", "tokenctl -p `", "tokenctl -p ;t", "tokenctl -p $(touch X", "tokenctl $(touch X) -p "]
)
def test_a_tab_at_a_terminal_runs_nothing(home: Path, shell: type[Shell], line: str) -> None:
    shell(home, SCRIPTS).typed(line)
    assert not (home / "X").exists()


@pytest.mark.parametrize("shell", [Bash, Zsh])
def test_a_hostile_file_name_is_quoted(home: Path, shell: type[Shell]) -> None:
    (home / "leak$(touch X)").touch()
    assert shell(home, SCRIPTS).typed("tokenctl revoke --from lea") == "tokenctl revoke --from leak\\$\\(touch\\ X\\) "
    assert not (home / "X").exists()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", ["tokenctl ", "tokenctl issue --k", "tokenctl -p p"])
def test_a_tab_starts_no_program(home: Path, shell: type[Shell], line: str) -> None:
    assert shell(home, SCRIPTS, path="/nowhere").offers(line) == shell(home, SCRIPTS).offers(line) != []


@pytest.mark.parametrize("option", ["set -f", "set -u", "shopt -s failglob", "shopt -s nullglob", "IFS=o", "LC_ALL=C"])
def test_settings_of_a_bash_change_nothing(home: Path, option: str) -> None:
    shell = Bash(home, SCRIPTS)
    shell.options = option
    names = {"local"} if option == "set -f" else PROFILES
    assert set(shell.offers("tokenctl -p ")) == names
    assert set(shell.offers("tokenctl audit ")) == AUDIT


@pytest.mark.parametrize("shell", SHELLS)
def test_the_directory_of_profiles_is_the_one_of_the_environment(home: Path, shell: type[Shell]) -> None:
    for place in ("other", "xdg/tokenctl"):
        (home / place / "profiles").mkdir(parents=True)
        (home / place / "profiles" / f"{place[:3]}.toml").touch()
    asked = shell(home, SCRIPTS)
    asked.env["XDG_CONFIG_HOME"] = "relative"
    assert set(asked.offers("tokenctl -p ")) == PROFILES
    asked.env["XDG_CONFIG_HOME"] = str(home / "xdg")
    assert set(asked.offers("tokenctl -p ")) == {"local", "xdg"}
    asked.env["TOKENCTL_CONFIG"] = str(home / "other")
    assert set(asked.offers("tokenctl -p ")) == {"local", "oth"}


@pytest.fixture
def child_scripts(tmp_path: Path) -> Path:
    """Scripts for a grammar with a verb that takes a command behind ``--``."""
    app = typer.Typer()

    @app.callback()
    def root() -> None: ...

    @app.command()
    def run(
        command: Annotated[list[str] | None, typer.Argument(metavar="[-- CMD...]")] = None,
        file: Annotated[str, typer.Option()] = "",
    ) -> None: ...

    read = grammar.read(app)
    made = {"tokenctl.bash": shells.bash(read), "_tokenctl": shells.zsh(read), "tokenctl.fish": shells.fish(read)}
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name, text in made.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("shell", [Bash, BashWithPackage, Zsh, Fish])
def test_a_command_behind_two_hyphens_is_completed_as_one(home: Path, child_scripts: Path, shell: type[Shell]) -> None:
    asked = shell(home, child_scripts)
    assert "hostname" in asked.offers("tokenctl run --file x -- hostnam")
    assert asked.offers("tokenctl run --fi") == ["--file"]


@pytest.mark.parametrize("shell", [Bash, BashWithPackage, Zsh])
def test_a_file_behind_a_command_is_completed(home: Path, child_scripts: Path, shell: type[Shell]) -> None:
    (home / "token.txt").touch()
    assert shell(home, child_scripts).typed("tokenctl run -- cat to") == "tokenctl run -- cat token.txt "


def test_completion_prints_the_committed_script(cli) -> None:
    for shell, name in (("bash", "tokenctl.bash"), ("zsh", "_tokenctl"), ("fish", "tokenctl.fish")):
        script = (SCRIPTS / name).read_text()
        for options in ((), ("-q",)):
            done = cli("completion", shell, *options)
            assert (done.code, done.out, done.err) == (0, script, "")
        assert cli("completion", shell, "-ojson").json == {"shell": shell, "script": script, "warnings": []}
    assert list(cli.home.iterdir()) == []


def test_completion_knows_three_shells(cli) -> None:
    done = cli("completion", "tcsh")
    assert (done.code, done.out) == (2, "")
    assert done.err == "tokenctl: no completion for that shell\nhint: python -m tokenctl completion bash|zsh|fish\n"
