"""Real shells that complete: what each offers for a line typed so far, in a home of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pexpect

from tests.conftest import missing

PATIENCE = 30  # seconds
END = "@@"  # typed behind the TAB: what came before it on the screen is the completion's work


class Shell:
    """One shell with one completion script.

    ``home`` is also the working directory; ``path`` is the PATH while completing.
    """

    name = ""
    script = ""

    def __init__(self, home: Path, scripts: Path, *, path: str = "/usr/bin:/bin") -> None:
        if shutil.which(self.name) is None:
            missing(self.name)
        self.home = home
        self.path = path
        self.file = home.parent / "completion" / self.script
        self.file.parent.mkdir(exist_ok=True)
        shutil.copy(scripts / self.script, self.file)
        self.env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "TERM": "dumb", "LANG": "C.UTF-8"}

    def offers(self, line: str) -> list[str]:
        """Return the words that a TAB at the end of the line offers."""
        raise NotImplementedError

    def typed(self, line: str) -> str:
        """Return the line as a TAB at its end leaves it, at a terminal."""
        raise NotImplementedError

    def _run(self, *arguments: str) -> list[str]:
        done = subprocess.run(
            arguments, env=self.env, cwd=self.home, capture_output=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
        assert done.stderr == b"", done.stderr
        return [word for word in done.stdout.decode().split("\0") if word]

    def _at_terminal(self, start: list[str], line: str) -> str:
        child = pexpect.spawn(
            self.name, start, env=self.env, cwd=str(self.home), dimensions=(50, 200), timeout=PATIENCE, encoding="utf-8"
        )
        try:
            child.expect_exact("ready> ")
            child.send(f"{line}\t{END}")
            child.expect_exact(END)
            return _shown(child.before.rpartition("ready> ")[2])
        finally:
            child.close(force=True)


def _shown(screen: str) -> str:
    """Return the last line of what a dumb terminal was sent."""
    line = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]|[\a\r]", "", screen).rpartition("\n")[2]
    while "\b" in line:
        line = re.sub(r"(^|[^\x08])\x08", "", line, count=1)
    return line


class Bash(Shell):
    """bash, with or without the bash-completion package.

    ``offers`` calls the function with the variables that readline would set; ``typed`` is readline itself.
    """

    name, script = "bash", "tokenctl.bash"
    package = False
    options = ""

    def offers(self, line: str) -> list[str]:
        words = [part for word in line.split(" ") for part in re.findall(r"[=:]|[^=:]+", word) or [""]]
        return self._run(
            "bash", "--norc", "--noprofile", "-c",
            f"{self._rc()}\n{self.options}\nPATH=$1 COMP_LINE=$2 COMP_POINT=${{#2}}; shift 2\n"
            "COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'\n"
            "compopt() { printf 'files:%s\\0' \"$*\"; }\n"
            "_tokenctl\nfor word in ${COMPREPLY[@]+\"${COMPREPLY[@]}\"}; do printf '%s\\0' \"$word\"; done",
            "bash", self.path, line, *words,
        )  # fmt: skip

    def typed(self, line: str) -> str:
        rc = self.home / "rc"
        rc.write_text(f"{self._rc()}\nPS1='ready> ' PATH={self.path!r}\nbind 'set enable-bracketed-paste off'\n")
        return self._at_terminal(["--noprofile", "--rcfile", str(rc), "-i"], line)

    def _rc(self) -> str:
        package = "/usr/share/bash-completion/bash_completion"
        if self.package and not Path(package).exists():
            missing("bash-completion")
        return f"{f'source {package}' if self.package else ''}\nsource {self.file}"


class BashWithPackage(Bash):
    package = True


class Zsh(Shell):
    """zsh after a plain ``compinit``; every ``compadd`` is noted on its way."""

    name, script = "zsh", "_tokenctl"

    def offers(self, line: str) -> list[str]:
        noted = self.home / "noted"
        noted.unlink(missing_ok=True)
        self.typed(line)
        return [word for word in noted.read_text().split("\0") if word] if noted.exists() else []

    def typed(self, line: str) -> str:
        (self.home / ".zshrc").write_text(
            f"fpath=({self.file.parent} $fpath)\nautoload -U compinit\ncompinit -d {self.home.parent.parent}/zcompdump\n"
            "compadd() {\n  local -a noted\n"
            "  if [[ -z ${argv[(r)-[AOD]]} ]]; then\n"
            f"    builtin compadd -O noted \"$@\"; (($#noted)) && printf '%s\\0' $noted >>{self.home}/noted\n  fi\n"
            '  builtin compadd "$@"\n}\n'
            f"setopt nobeep noautomenu\nPATH={self.path}\nPS1='ready> '\n"
        )
        return self._at_terminal(["-o", "noglobalrcs", "-i"], line)


class Fish(Shell):
    """fish, asked by its own ``complete -C``."""

    name, script = "fish", "tokenctl.fish"

    def offers(self, line: str) -> list[str]:
        code = "source $argv[1]; set -gx PATH $argv[2]; for word in (complete -C $argv[3]); printf '%s\\0' $word; end"
        return [word.partition("\t")[0] for word in self._run("fish", "--no-config", "-c", code, str(self.file), self.path, line)]


SHELLS = (Bash, BashWithPackage, Zsh, Fish)
