"""A baseline: the findings that are known and accepted, by their fingerprints, in a file that ``audit review`` writes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

from tokenctl import files
from tokenctl.backends.local.reviewing import Reviewer, fingerprint
from tokenctl.commands import inputs
from tokenctl.commands.context import Context
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable
from tokenctl.formats import strict_json

_VERSION = 1
_LIMIT = 256 * 1024 * 1024  # bytes; a million findings are less
_ANEW = "make it anew: tokenctl audit review --write-baseline FILE"


class Entry(NamedTuple):
    """One known finding; rule and id only say to people what the fingerprint stands for."""

    fingerprint: str
    rule: str
    id: str


class Baseline:
    """What is known, and which of it was met."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._met: set[str] = set()

    def knows(self, mark: str) -> bool:
        """Whether a finding is known; it then no longer counts as absent."""
        if mark not in self._entries:
            return False
        self._met.add(mark)
        return True

    def absent(self, rules: Collection[str]) -> list[Entry]:
        """Return what was not met of these rules: the others were not looked for."""
        return [entry for mark, entry in self._entries.items() if mark not in self._met and entry.rule in rules]


def read_baseline(path: str) -> Baseline:
    """Read a baseline's file.

    Raises:
        InvalidRequest: it cannot be read, or is no baseline of this version (exit 2).
    """
    members = strict_json.read_object(inputs.read_file(path, limit=_LIMIT), what="the baseline")
    version, listed = members.get("tokenctl_baseline"), members.get("findings")
    if version is not True and version == _VERSION and isinstance(listed, list):
        entries = [_entry(each) for each in listed]
        return Baseline({entry.fingerprint: entry for entry in entries})
    raise InvalidRequest("the file is no baseline of this version", hint=_ANEW)


def _entry(members: object) -> Entry:
    if isinstance(members, dict):
        texts = [members.get(name) for name in Entry._fields]
        if all(isinstance(text, str) for text in texts):
            return Entry(*map(str, texts))
    raise InvalidRequest("the baseline has an entry without fingerprint, rule and id", hint=_ANEW)


def write_baseline(context: Context, path: str, reviewer: Reviewer) -> None:
    """Write all that is found, whole or not at all, over a baseline that was there.

    Raises:
        InvalidRequest: the file cannot be written there (exit 2).
        TemporarilyUnavailable: the medium is full (exit 7).
    """
    context.refuse_own(path, "--write-baseline")
    delivery, count = files.Delivery(path, mode=0o644, option="--write-baseline"), 0
    try:
        delivery.append(f'{{"tokenctl_baseline": {_VERSION}, "findings": ['.encode("ascii"))
        for finding in reviewer.findings():
            entry = Entry(fingerprint(str(reviewer.store_id), finding), finding.rule.id, finding.id)
            delivery.append(f"{',' if count else ''}\n{json.dumps(entry._asdict())}".encode("ascii"))
            count += 1
        delivery.append(b"\n]}\n")
        delivery.sync()
        delivery.place()
    except OSError as error:
        raise TemporarilyUnavailable(f"cannot write {path}: {files.cause_of(error)}", hint="make room and run again") from None
    finally:
        delivery.discard()
    console = context.console
    console.chat(f"wrote {count:,} finding{'s' * (count != 1)} to {path}", folded=True)
    if console.machine:
        console.document({"action": "baseline", "profile": console.profile, "out": path, "findings": count,
                          "warnings": list(console.warnings)})  # fmt: skip
