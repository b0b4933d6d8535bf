"""What checking a log finds: a verdict, the flaws behind it, and what it was compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

_MOST_TOLD = 20
ANCHORED = "OK"  # a head that was kept elsewhere agrees
LOCALLY = "OK (anchored locally only)"
UNANCHORED = "UNANCHORED"
INVALID = "INVALID"
TRUNCATED = "TRUNCATED"
DIVERGED = "DIVERGED"


class KnownHead(NamedTuple):
    """A head of this log that somebody kept elsewhere, verified.

    Attributes:
        source: Where it was read from.
        named: Whether the log itself names the key that signed it, not its holder alone.
        origin: Whether it speaks of this log's origin: another log's head is no evidence against this one.
    """

    source: str
    size: int
    root: bytes
    named: bool = True
    origin: bool = True


class Comparison(NamedTuple):
    """Whether the log agrees with a head that it was compared with."""

    source: str
    size: int
    root: bytes
    agrees: bool


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found.

    Attributes:
        since: The number of the record behind which was looked; 0 for all, ``None`` where the log was not read.
        state: Whether rows were compared with their records.
        required: Whether a head kept elsewhere had to agree.
        exported: The size of the newest head that left the store, as it remembers.
        archived: How many records were taken by their hashes, their bodies lying in archives that were not given.
        grave: Whether what was found quarantines the store.
    """

    verdict: str = ANCHORED
    flaws: list[str] = field(default_factory=list)
    records: int = 0
    tokens: int = 0
    keys: int = 0
    root: bytes = b""
    since: int | None = 0
    state: bool = True
    required: bool = False
    exported: int = 0
    archived: int = 0
    compared: list[Comparison] = field(default_factory=list)
    grave: bool = False

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against log and rows."""
        return self.verdict in (ANCHORED, LOCALLY, UNANCHORED)

    @property
    def accepted(self) -> bool:
        """Whether it is sound, and anchored as it was asked for."""
        return self.sound and (self.verdict == ANCHORED or not self.required)

    @property
    def outside(self) -> int:
        """The size of the newest head outside the store that holds: of those compared, else the one that left last."""
        return max((one.size for one in self.compared if one.agrees), default=min(self.exported, self.records))

    @property
    def rewritable(self) -> int:
        """How many of the newest records the holder of the log's keys could write anew, and no head outside would tell."""
        return self.records - self.outside

    def compare(self, known: KnownHead, *, agrees: bool) -> None:
        """Note whether the log agrees with a known head; one whose key the log does not name never anchors it."""
        self.compared.append(Comparison(known.source, known.size, known.root, agrees=agrees and known.named))

    def require_anchor(self) -> None:
        """Call a log that no head kept elsewhere agrees with what it is."""
        self.required = True
        if self.sound and self.verdict != ANCHORED:
            self.verdict = UNANCHORED

    def flaw(self, text: str) -> None:
        if len(self.flaws) < _MOST_TOLD:
            self.flaws.append(text)
        self.verdict, self.grave = INVALID, True

    def blame(self, causes: list[str]) -> None:
        """Put flaws in front of those that they explain."""
        if causes:
            self.flaws = [*causes, *self.flaws][:_MOST_TOLD]
            self.verdict, self.grave = INVALID, True

    def contradict(self, verdict: str, text: str, *, grave: bool = True) -> None:
        """Take in what an anchor says against the log; what the log says against itself weighs more."""
        if len(self.flaws) < _MOST_TOLD:
            self.flaws.append(text)
        self.grave = self.grave or grave
        if self.verdict == ANCHORED:
            self.verdict = verdict
