"""``doctor``: looks at everything that could be wrong and names the command that mends it. It changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from tokenctl import files
from tokenctl.commands.context import Context
from tokenctl.commands.doctor import access, configuration, installed, keys, remote, startup, store, surroundings
from tokenctl.commands.doctor.finding import FAIL, OK, WARN, Examined, Finding, fail
from tokenctl.errors import TemporarilyUnavailable, TokenctlError, TokenNotActive, worst
from tokenctl.render.escape import escape

Check = Callable[[Examined], Iterable[Finding]]
_COLOURS = {OK: "green", WARN: "yellow", FAIL: "red"}

# Each knows one subject. Access comes first, so that what it tells of a path is not told again by others.
CHECKS: dict[str, Check] = {
    "access": access.access, "config": configuration.configuration, "store": store.store, "secret": store.secret,
    "audit": store.audit, "clock": store.clock, "lock": store.lock, "space": store.space, "delivery": store.delivery,
    "backup": store.backup, "keys": keys.keys,
    "credential": remote.credential, "service": remote.service,
    "environment": surroundings.environment, "start-up": startup.start_up, "completions": installed.completions,
    "man": installed.manual,
}  # fmt: skip
_OF_A_PROFILE = frozenset(CHECKS) - {"config", "environment", "start-up", "completions", "man"}


def doctor(context: Context, *, strict: bool) -> int:
    """Examine, tell, and return 0, with ``strict`` 3 for warnings, or the worst code that the next verb would meet."""
    findings = list(_told_once(_examine(Examined(context))))
    counts = {status: sum(finding.status == status for finding in findings) for status in (OK, WARN, FAIL)}
    code = worst([finding.code for finding in findings])
    if not code and strict and counts[WARN]:
        code = TokenNotActive.exit_code
    _print(context, findings, counts, code)
    return code


def _examine(examined: Examined) -> Iterator[Finding]:
    known = _profile_is_known(examined)
    for name, check in CHECKS.items():
        if name in _OF_A_PROFILE and not known:
            continue
        try:
            yield from check(examined)
        except TokenctlError as error:
            yield fail(name, error)
        except OSError as error:
            yield fail(name, TemporarilyUnavailable(f"it cannot be looked at: {files.cause_of(error)}"))


def _profile_is_known(examined: Examined) -> bool:
    try:
        return bool(examined.profile)
    except TokenctlError:
        return False  # the check of the configuration tells why


def _told_once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Leave out what an earlier check told already: the same fact, or another about a path that is to be mended first."""
    told: set[str] = set()
    places: list[str] = []
    for finding in findings:
        if finding.status == FAIL and finding.place is None:
            if finding.detail in told or any(re.search(rf"{re.escape(place)}(?=[ :;,]|$)", finding.detail) for place in places):
                continue
            told.add(finding.detail)
        elif finding.place is not None:
            places.append(finding.place)
        yield finding


def _print(context: Context, findings: list[Finding], counts: dict[str, int], code: int) -> None:
    console = context.console
    documents = [_document(context, finding) for finding in findings]
    if console.output == "json":
        console.document({"findings": documents, "counts": counts, "exit_code": code, "warnings": list(console.warnings)})
    elif console.output == "jsonl":
        for document in documents:
            console.document(document)
    elif console.quiet:
        for finding in findings:
            if finding.status == FAIL:
                console.complain(f"{_shown(finding.status)} {finding.check}: {finding.detail}")
    else:
        for finding in findings:
            _line(context, finding)
        warnings = f"{counts[WARN]} warning{'s' * (counts[WARN] != 1)}"
        console.answer(f"{counts[OK]} ok, {warnings}, {counts[FAIL]} failed")


def _shown(status: str) -> str:
    return "FAIL" if status == FAIL else status


def _document(context: Context, finding: Finding) -> dict[str, object]:
    return {"check": finding.check, "status": finding.status, "detail": finding.detail, "mend": _mend(context, finding)}


def _line(context: Context, finding: Finding) -> None:
    console, mend = context.console, _mend(context, finding)
    if not console.on_terminal:
        console.answer("\t".join((_shown(finding.status), finding.check, escape(finding.detail), escape(mend or "-"))))
        return
    status = f"{_shown(finding.status):<4}"
    line = console.fold(f"{status}  {finding.check:<12}  ", escape(_from_home(context, finding.detail)))
    console.answer(console.paint(status, _COLOURS[finding.status]) + line.removeprefix(status))
    if mend:
        console.answer(f"      {'mend':<12}  {escape(mend)}")


def _from_home(context: Context, detail: str) -> str:
    return " ".join(context.places.shown(word) for word in detail.split(" "))


def _mend(context: Context, finding: Finding) -> str | None:
    """Return the command as it is to be typed here."""
    return None if finding.mend is None else context.console.advice(finding.mend)
