"""What checking a log finds: a verdict, and the flaws behind it."""

from __future__ import annotations

from dataclasses import dataclass, field

_MOST_TOLD = 20


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found: the verdict, the flaws behind it, and how much was looked at."""

    verdict: str = "OK"
    flaws: list[str] = field(default_factory=list)
    records: int = 0
    tokens: int = 0
    keys: int = 0
    root: bytes = b""

    @property
    def sound(self) -> bool:
        return self.verdict in ("OK (anchored locally only)", "UNANCHORED")

    def flaw(self, text: str) -> None:
        if len(self.flaws) < _MOST_TOLD:
            self.flaws.append(text)
        self.verdict = "INVALID"
