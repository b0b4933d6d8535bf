"""What another process does for the check of a large store; started by ``division`` as ``python -m tokenctl.audit.part``.

It reads its task, one line, from standard input, opens the store for reading alone, and writes a line for each piece that is
sound. When standard input ends, whoever asked is gone, and so is this process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tokenctl import process
from tokenctl.audit import chain
from tokenctl.audit.state import check_piece
from tokenctl.audit.verdict import Report
from tokenctl.store.connection import Store
from tokenctl.store.protection import Protector
from tokenctl.store.rows import Rows


def main() -> None:
    process.harden()
    task = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    store = Store.open(task["path"], only_look=True)
    if store is None:
        return
    with store.transaction(write=False):
        _TASKS[task["task"]](store, task)


def _end_with_the_asker() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _check_log(store: Store, task: Mapping[str, Any]) -> None:
    pieces = range((task["end"] - 1) * chain.PIECE, task["first"] * chain.PIECE - 1, -task["step"] * chain.PIECE)
    for position, root in chain.sound_pieces(store, iter(pieces)):
        _say(f"{position} {root.hex()}")


def _check_state(store: Store, task: Mapping[str, Any]) -> None:
    mac = store.value("SELECT mac FROM head")
    if not isinstance(mac, bytes) or mac.hex() != task["head"]:
        return
    rows, bounds = Rows(store, Protector(bytes.fromhex(task["key"]), task["store_id"])), task["bounds"]
    for number in range(len(bounds) - 2 - task["first"], -1, -task["step"]):
        report = Report()
        counts = check_piece(store, rows, bounds[number] or "", bounds[number + 1], report)
        if not report.flaws:
            _say(f"{number} {counts.tokens} {counts.records}")


def _check_file(store: Store, task: Mapping[str, Any]) -> None:
    # The check itself looks at the cells of every page; a page that makes SQLite stumble here ends this process alone.
    store.run("PRAGMA cell_size_check = OFF")
    if not any(store.damage(check) for check in task["checks"]):
        _say("sound")


_TASKS: Mapping[str, Callable[[Store, Mapping[str, Any]], None]] = {
    "log": _check_log, "state": _check_state, "file": _check_file,
}  # fmt: skip

if __name__ == "__main__":
    main()
