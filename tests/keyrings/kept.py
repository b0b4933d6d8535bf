"""A keyring in a file, with every fault that one may have: KEPT names the file, KEPT_FAULT the fault.

For tests alone: it lies on PYTHONPATH and a profile names it. The real keyring is that of tests/secret_service.py.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from keyring.backend import KeyringBackend

FILE = Path(os.environ["KEPT"])
FAULT, _, WHEN = os.environ.get("KEPT_FAULT", "").partition(":")
if FAULT == "hangs-importing":
    time.sleep(3600)
LEAKED = "the text of a foreign error"


class Kept(KeyringBackend):
    """A fault strikes at each call, or before the one that WHEN counts to."""

    priority = 1
    calls = 0
    broken = False

    def _items(self) -> dict[str, str]:
        Kept.calls += 1
        if FAULT == "killed-before" and Kept.calls == int(WHEN):
            os.kill(os.getpid(), signal.SIGKILL)
        if FAULT == "hangs":
            time.sleep(3600)
        if FAULT == "sleeps":
            time.sleep(float(WHEN))
        if FAULT == "raises" or Kept.broken:
            raise ValueError(LEAKED)
        if FAULT == "exits":
            raise SystemExit(LEAKED)
        return json.loads(FILE.read_text()) if FILE.exists() else {}

    def _keep(self, items: dict[str, str]) -> None:
        fresh = FILE.with_suffix(".new")
        fresh.write_text(json.dumps(items))
        fresh.rename(FILE)

    def get_password(self, service: str, username: str) -> str | None:
        items = self._items()
        if FAULT == "answers-bytes":
            return b"00" * 32  # the lie
        if FAULT == "answers-text":
            return LEAKED
        if FAULT == "answers-another":
            return "00" * 32
        return items.get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        items = self._items()
        if FAULT != "loses":
            self._keep(items | {f"{service} {username}": password})
        Kept.broken = FAULT == "breaks-having-kept"
        if Kept.broken or FAULT == "raises-having-kept":
            raise ValueError(LEAKED)

    def delete_password(self, service: str, username: str) -> None:
        items = self._items()
        if FAULT != "keeps":
            del items[f"{service} {username}"]
            self._keep(items)
