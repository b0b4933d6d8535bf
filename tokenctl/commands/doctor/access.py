"""Who else could read or exchange what is ours: modes and owners of files, directories and all their parents."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from tokenctl import config, files
from tokenctl.commands.doctor.finding import Examined, Finding, fail, ok, shell, warn
from tokenctl.errors import InvalidConfiguration, TokenctlError

_CHECK = "access"


def access(examined: Examined) -> Iterator[Finding]:
    """Check every file and directory of ours that is there."""
    found = [*_directories(examined), *_files(examined)]
    yield from found
    if not found:
        yield ok(_CHECK, "files, directories and their parents are yours alone")


# Directories


def _own_directories(examined: Examined) -> list[str]:
    places = examined.places
    store, anchor = (os.path.dirname(path) for path in (examined.store, places.anchor(examined.profile)))
    return [
        places.config, os.path.dirname(places.profile(examined.profile)), os.path.dirname(places.root_secret(examined.profile)),
        os.path.dirname(store), store, os.path.dirname(anchor), anchor,
    ]  # fmt: skip


def _directories(examined: Examined) -> Iterator[Finding]:
    own = _own_directories(examined)
    seen: set[str] = set()
    for directory in own:
        place = os.path.realpath(directory)
        while place not in seen:
            seen.add(place)
            yield from _directory(place, own=False)
            place = os.path.dirname(place)
    for directory in dict.fromkeys(map(os.path.realpath, own)):
        yield from _directory(directory, own=True)


def _directory(place: str, *, own: bool) -> Iterator[Finding]:
    """Check one directory for what makes a verb refuse, or, of our own ones, for what is only unwise."""
    try:
        facts = os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if not own:  # told once, as one of the parents
            yield fail(_CHECK, files.unusable(place, error), place=place)
        return
    open_to_write = facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX
    foreign = facts.st_uid not in (0, os.geteuid())
    if own:
        if stat.S_ISDIR(facts.st_mode) and facts.st_mode & 0o077 and not open_to_write and not foreign:
            yield warn(_CHECK, f"{place} can be entered by other users", shell("chmod", "700", place))
        return
    if not stat.S_ISDIR(facts.st_mode):
        yield fail(_CHECK, InvalidConfiguration(f"{place} is not a directory"), place=place)
    elif foreign:
        yield fail(_CHECK, InvalidConfiguration(f"{place} belongs to another user"), _chown(place), place)
    elif open_to_write:
        yield fail(_CHECK, InvalidConfiguration(f"{place} is writable by other users"), shell("chmod", "go-w", place), place)


# Files


def _files(examined: Examined) -> Iterator[Finding]:
    places, name = examined.places, examined.profile
    store = examined.store
    secret = [places.root_secret(name), f"{places.root_secret(name)}+new", store, f"{store}-wal", f"{store}-shm"]
    plain = [places.profile(profile) for profile in config.profile_names(places)]
    plain += [places.current, os.path.join(os.path.dirname(store), "store.lock"), places.anchor(name)]
    for path, is_secret in [(path, True) for path in secret] + [(path, False) for path in plain]:
        yield from _file(path, secret=is_secret)


def _file(path: str, *, secret: bool) -> Iterator[Finding]:
    try:
        facts = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield fail(_CHECK, files.unusable(path, error), place=path)
        return
    try:
        files.check_owned(path, facts, secret=secret)
    except TokenctlError as error:
        yield fail(_CHECK, error, _mend_file(path, facts), path)
        return
    if not os.access(path, os.R_OK | os.W_OK) and facts.st_mode & 0o600 != 0o600:
        yield fail(_CHECK, InvalidConfiguration(f"{path} is closed to its owner"), shell("chmod", "600", path), path)


def _mend_file(path: str, facts: os.stat_result) -> str:
    if stat.S_ISLNK(facts.st_mode):
        target = os.path.realpath(path)
        return shell("mv", "-f", target, path) if os.path.isfile(target) else shell("rm", path)
    if not stat.S_ISREG(facts.st_mode):
        return shell("mv", path, f"{path}.aside")
    if facts.st_uid != os.geteuid():
        return _chown(path)
    if facts.st_nlink > 1:
        return f"{shell('cp', '-p', path, f'{path}.one')} && {shell('mv', '-f', f'{path}.one', path)}"
    return shell("chmod", "600", path)


def _chown(path: str) -> str:
    prefix = () if os.geteuid() == 0 else ("sudo",)
    return shell(*prefix, "chown", str(os.geteuid()), path)
