"""The signing keys of the profile: whether their steps are taken in time, and whether verifiers can fetch them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenctl import config, files, wiring
from tokenctl.backends.local.signing_keys import LocalSigningKeys
from tokenctl.commands.doctor.finding import Examined, Finding, fail, ok, patiently, shell, warn
from tokenctl.errors import InvalidConfiguration, TokenctlError
from tokenctl.model.rotation import Outlook, Step, Wish
from tokenctl.model.times import DAY, format_distance
from tokenctl.workflows.rotation import Asked, Observation, observe, obstacles

_MEND = "tokenctl rotate-keys"
_OTHER = "mend it, or name another file as jwks_file"
_PATIENCE = 3.0  # seconds for all verifiers


class _Look(NamedTuple):
    outlook: Outlook
    served: int
    asked: Sequence[Asked]
    blocked: Sequence[Asked]


def keys(examined: Examined) -> Iterator[Finding]:
    """Check the published file, that every algorithm signs, that no step waits for more than a day, and the verifiers."""
    unwritable = list(_file(examined))
    yield from unwritable
    facts = examined.opened.facts
    if facts is None or not facts.keys or facts.quarantine is not None:
        return
    look = patiently(lambda: _look(examined))
    outlook = look.outlook
    late = [step for step in outlook.due if step.action in ("renew", "mend") or step.at < outlook.now - DAY]
    blocked = {asked.kid for asked in look.blocked}
    found = [_late(step, outlook.now) for step in late if step.kid not in blocked and not (unwritable and step.action == "mend")]
    found += [_lacking(asked, outlook) for asked in look.asked if not asked.holds]
    found += [_lacking(asked, outlook) for asked in look.blocked if asked.verifier is None]
    yield from found
    if not found and not unwritable:
        yield ok("keys", f"{look.served} for verifiers; next step {_next(outlook)}")


def _file(examined: Examined) -> Iterator[Finding]:
    """Find by looking alone that the published file cannot be written, and with which code the next verb would end."""
    path = examined.settings.jwks_file
    if path is None:
        return
    directory = os.path.dirname(path)
    try:
        planted = _planted(path)
        if planted is not None:
            error: TokenctlError = InvalidConfiguration(f"{path} is a link or no regular file", hint=_OTHER)
            yield fail("keys", error, shell(planted, path))
        elif os.statvfs(directory).f_flag & os.ST_RDONLY:
            yield fail("keys", files.unusable(path, OSError(errno.EROFS, "")))
        elif not stat.S_ISDIR(os.stat(directory).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "")
        elif not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            yield fail("keys", _unwritable(path, errno.EACCES), shell("chmod", "u+wx", directory))
        elif examined.journal().owns(path):
            error = InvalidConfiguration(f"the jwks_file {path} lies among tokenctl's own files", hint="name another one")
            yield fail("keys", error)
        yield from _others(examined, path, directory)
    except OSError as failed:
        missing = failed.errno == errno.ENOENT
        yield fail("keys", _unwritable(path, failed.errno or errno.EIO), shell("mkdir", "-p", directory) if missing else None)


def _others(examined: Examined, path: str, directory: str) -> Iterator[Finding]:
    """Warn where somebody else writes the published file: whoever does decides which tokens verifiers accept."""
    for profile in config.sharing(examined.places, examined.profile, path):
        yield warn("keys", f"profile {profile} has the same jwks_file: each run takes out the other's keys", None)
    for place in (directory, path):
        if os.path.lexists(place) and _open_to_others(os.lstat(place)):
            yield warn("keys", f"{place} can be written by other users", shell("chmod", "go-w", place))


def _open_to_others(facts: os.stat_result) -> bool:
    return bool(facts.st_mode & 0o022) and not (stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX)


def _unwritable(path: str, number: int) -> InvalidConfiguration:
    return InvalidConfiguration(f"cannot write {path}: {files.cause_of(OSError(number, ''))}", hint=_OTHER)


def _planted(path: str) -> str | None:
    """Return the command that takes away what stands in the place of a file; ``None`` where nothing wrong does."""
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
        return None
    return "rmdir" if stat.S_ISDIR(facts.st_mode) else "rm"


def _late(step: Step, now: int) -> Finding:
    if step.action == "renew":
        return warn("keys", f"no key signs {step.alg}", _MEND)
    if step.action == "mend":
        return warn("keys", "the jwks_file does not hold exactly the keys that verifiers need", _MEND)
    return warn("keys", f"a step ({step.action} {step.alg}) is due since {format_distance(step.at, now)}", _MEND)


def _lacking(asked: Asked, outlook: Outlook) -> Finding:
    """Tell of a verifier without a key, or that none is asked, and what the next step meets by that."""
    step = next((step for step in outlook.steps if step.action == "activate" and step.kid == asked.kid), None)
    then = ""
    if step is not None:
        due = "is due: rotate-keys ends with 6" if step.at <= outlook.now else f"is due {format_distance(step.at, outlook.now)}"
        then = f"; its activation {due}"
    if asked.verifier is None:
        return warn("keys", f"{asked.kid} ({asked.alg}) may not sign: {asked.detail}{then}", f"{_MEND} --verifier URL")
    mend = f"{_MEND} status --verifier {shell(asked.verifier)}"
    return warn("keys", f"{asked.told}: {asked.kid} ({asked.alg}){then}", mend)


def _look(examined: Examined) -> _Look:
    journal = examined.journal()
    try:
        profile = wiring.open_profile(examined.context.profile, examined.context.surroundings)
        signing = LocalSigningKeys(journal, profile)
        served, outlook, listed = signing.jwks()["keys"], signing.outlook(Wish()), signing.keys()
        observation = Observation(_verifiers(profile.verifiers), seconds=min(examined.context.surroundings.timeout, _PATIENCE))
        needed = {key.kid: key.alg for key, _ in listed if key.state in ("published", "active")}
        waiting = any(key.state == "published" for key, _ in listed)
        asked = observe(signing, needed, observation, now=outlook.now) if waiting else []
        blocked = [each for each in asked if not each.holds]
        if not observation.verifiers:
            blocked = obstacles(signing, outlook.steps, observation, now=outlook.now)
        return _Look(outlook, len(served) if isinstance(served, list) else 0, asked, blocked)
    finally:
        journal.close()


def _verifiers(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the profile's verifiers; raises InvalidConfiguration where one may not be asked (exit 9)."""
    if urls:
        from tokenctl.errors import InvalidRequest
        from tokenctl.workflows.canary import check_verifier

        for number, url in enumerate(urls, 1):
            try:
                check_verifier(url)
            except InvalidRequest as error:
                raise InvalidConfiguration(
                    f"verifiers: number {number}: {error.message}", hint="mend it with an editor"
                ) from None
    return tuple(urls)


def _next(outlook: Outlook) -> str:
    if not outlook.steps:
        return "none"
    step = outlook.steps[0]
    return f"{step.action} {step.alg} {'due' if step.at <= outlook.now else format_distance(step.at, outlook.now)}"
