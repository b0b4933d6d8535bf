"""What comes with the program and a shell or ``man`` must find: completions and the manual."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator

from tokenctl.commands.doctor.finding import Examined, Finding, ok, warn

_COMPLETIONS = {
    "bash": "bash-completion/completions/tokenctl",
    "zsh": "zsh/site-functions/_tokenctl",
    "fish": "fish/vendor_completions.d/tokenctl.fish",
}  # fmt: skip
_OWN_FISH = "fish/completions/tokenctl.fish"
_MANUAL = "man/man1/tokenctl.1"


def completions(examined: Examined) -> Iterator[Finding]:
    """Check that the user's shell can complete; other shells are told where it does too."""
    shell = os.path.basename(examined.environment.get("SHELL", ""))
    found = {name: place for name in _COMPLETIONS if (place := _completion_of(examined, name)) is not None}
    if shell in _COMPLETIONS and shell not in found:
        yield warn("completions", f"{shell} has none for tokenctl", _mend(examined, shell))
    elif found:
        yield ok("completions", ", ".join(f"{name} in {place}" for name, place in found.items()))
    else:
        yield ok("completions", "no shell asks for them")


def _mend(examined: Examined, shell: str) -> str:
    """Write them where this shell looks of itself; zsh looks at no folder of the user."""
    own = examined.environment.get("XDG_DATA_HOME", "")
    bases = {
        "bash": shlex.quote(own) if os.path.isabs(own) else "~/.local/share", "zsh": "/usr/local/share", "fish": "~/.config"
    }  # fmt: skip
    target = f"{bases[shell]}/{_OWN_FISH if shell == 'fish' else _COMPLETIONS[shell]}"
    sudo = "sudo " if shell == "zsh" and os.geteuid() != 0 else ""
    return f"{sudo}mkdir -p {os.path.dirname(target)} && tokenctl completion {shell} | {sudo}tee {target} > /dev/null"


def _completion_of(examined: Examined, shell: str) -> str | None:
    places = [os.path.join(share, _COMPLETIONS[shell]) for share in _shares(examined)]
    home = examined.environment.get("HOME", "")
    if shell == "fish" and os.path.isabs(home):
        places.append(os.path.join(home, ".config", _OWN_FISH))
    return next((_shown(examined, place) for place in places if os.path.isfile(place)), None)


def manual(examined: Examined) -> Iterator[Finding]:
    """Check that the manual page is there, and say where ``man`` would not look."""
    named = [path for path in examined.environment.get("MANPATH", "").split(os.pathsep) if path]
    pages = [os.path.join(share, _MANUAL) for share in _shares(examined)]
    pages += [os.path.join(path, "man1/tokenctl.1") for path in named]
    page = next((path for page in pages for path in (page, f"{page}.gz") if os.path.isfile(path)), None)
    if page is None:
        yield warn("man", "the manual page is not installed: it comes with the wheel")
        return
    folder = os.path.dirname(os.path.dirname(page))
    on_path = shutil.which("tokenctl", path=examined.environment.get("PATH", os.defpath)) is not None
    # man looks beside the folders of PATH; an environment that is not on it is named.
    hidden = folder.startswith(os.path.join(sys.prefix, "share")) and not on_path and folder not in named
    note = f"; man -M {_shown(examined, folder)} tokenctl shows it, for this environment is not on PATH" if hidden else ""
    yield ok("man", f"{_shown(examined, page)}{note}")


def _shares(examined: Examined) -> list[str]:
    environment = examined.environment
    home = environment.get("HOME", "")
    own = environment.get("XDG_DATA_HOME", "")
    shares = [os.path.join(sys.prefix, "share"), own, os.path.join(home, ".local/share")]
    shares += environment.get("XDG_DATA_DIRS", "").split(os.pathsep)
    shares += ["/usr/local/share", "/usr/share", "/opt/homebrew/share"]
    return list(dict.fromkeys(share for share in shares if os.path.isabs(share)))


def _shown(examined: Examined, path: str) -> str:
    return examined.places.shown(path)
