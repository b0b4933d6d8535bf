"""Time of one TAB in bash, zsh and fish: ``python -m tests.bench tab``.

The floor is the same shell completing a command whose whole completion is two fixed words. It needs the three shells,
measures in a home of its own with 20 profiles, and asserts nothing: the printed Markdown table is the result.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pexpect

from tests.docs import ROOT

SCRIPTS = ROOT / "completions"
TABS = 200
ROUNDS = 7
LINES = ("issue --ki", "-p p", "revoke --reason u", "")
FLOOR = "floor"

_BASH = """source {script}
_floor() {{ local word; COMPREPLY=(); for word in alpha beta; do COMPREPLY+=("$word"); done; }}
compopt() {{ :; }}
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:' COMP_LINE={line!r} COMP_POINT=${{#COMP_LINE}}
COMP_WORDS=({words}) COMP_CWORD={last}
for ((tab = 0; tab < $1; tab++)); do {function}; done
:
"""
_FISH = """source {script}
complete -c floor -f -a 'alpha beta'
for tab in (string repeat -n $argv[1] 'x ' | string split -n ' '); complete -C '{line}' >/dev/null; end; true
"""
_ZSH = """fpath=({scripts} $fpath)
autoload -U compinit
compinit -d $HOME/dump
zmodload zsh/datetime
_floor() {{ compadd alpha beta }}
compdef _floor floor
timed() {{
  local begun=$EPOCHREALTIME
  zle list-choices
  print -r -- $(( (EPOCHREALTIME - begun) * 1000 )) >>$HOME/times
}}
zle -N timed
bindkey '^I' timed
setopt nobeep
PS1='ready> '
"""


def per_tab(run: Callable[[int], None]) -> float:
    """Return the milliseconds of one TAB: what many cost beyond none, over their number."""
    run(1)
    rounds = []
    for _ in range(ROUNDS):
        spent = []
        for count in (0, TABS):
            begun = time.perf_counter()
            run(count)
            spent.append(time.perf_counter() - begun)
        rounds.append((spent[1] - spent[0]) * 1000 / TABS)
    return statistics.median(rounds)


def bash(home: Path, line: str) -> float:
    words = line.split(" ")
    code = _BASH.format(
        script=SCRIPTS / "tokenctl.bash", line=line, words=" ".join(word or "''" for word in words), last=len(words) - 1,
        function="_floor" if words[0] == FLOOR else "_tokenctl",
    )  # fmt: skip
    return per_tab(lambda count: _run(home, "bash", "--norc", "--noprofile", "-c", code, "bash", str(count)))


def fish(home: Path, line: str) -> float:
    code = _FISH.format(script=SCRIPTS / "tokenctl.fish", line=line)
    return per_tab(lambda count: _run(home, "fish", "--no-config", "-c", code, str(count)))


def zsh(home: Path, line: str) -> float:
    """Return the median of what the completion widget takes in an interactive zsh; the first, which loads it, left out."""
    (home / ".zshrc").write_text(_ZSH.format(scripts=SCRIPTS))
    (home / "times").unlink(missing_ok=True)
    child = pexpect.spawn("zsh", ["-o", "noglobalrcs", "-i"], env=_env(home), cwd=str(home), dimensions=(50, 200), timeout=60)
    try:
        child.expect_exact("ready> ")
        child.send(line)
        for number in range(40):
            child.send("\t")
            _wait(child, home / "times", number + 1)
    finally:
        child.close(force=True)
    return statistics.median([float(row) for row in (home / "times").read_text().split()][1:])


def _wait(child: pexpect.spawn, path: Path, rows: int) -> None:
    """Wait for the next time; what is listed is read, so that the shell can go on."""
    end = time.monotonic() + 30
    while not path.exists() or path.read_text().count("\n") < rows:
        if time.monotonic() > end:
            raise TimeoutError("zsh does not answer")
        with contextlib.suppress(pexpect.TIMEOUT):
            child.read_nonblocking(1 << 16, timeout=0.002)


def _env(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "TERM": "dumb", "LANG": "C.UTF-8"}


def _run(home: Path, *arguments: str) -> None:
    subprocess.run(arguments, env=_env(home), cwd=home, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def report() -> str:
    """Return what one TAB costs in each shell, as Markdown: a goal of 5 ms beyond the shell is no ratio."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="tokenctl-tab-") as folder:
        home = Path(folder)
        profiles = home / ".config" / "tokenctl" / "profiles"
        profiles.mkdir(parents=True)
        for number in range(20):
            (profiles / f"profile-{number}.toml").touch()
        for measure in (bash, zsh, fish):
            if shutil.which(measure.__name__) is None:
                sys.stderr.write(f"bench: {measure.__name__} is missing\n")
                continue
            floor = measure(home, f"{FLOOR} a")
            for line in LINES:
                ours = measure(home, f"tokenctl {line}")
                shown = f"{measure.__name__}, `tokenctl {line}`"
                rows.append(f"| {shown} | {ours:.2f} ms | {floor:.2f} ms | {ours - floor:.2f} ms |")
    head = "| one TAB | ours | two fixed words | beyond |\n|---|--:|--:|--:|\n"
    return head + "\n".join(rows) + f"\n\nMedians, {TABS} TABs a round (zsh: 39)."


if __name__ == "__main__":
    sys.stdout.write(f"{report()}\n")
