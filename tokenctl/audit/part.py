"""What another process does for the check of a large store; started by ``division`` as ``python -m tokenctl.audit.part``.

It reads its task from standard input, opens the store for reading alone, and writes a line for each piece that is sound.
"""

from __future__ import annotations

import json
import sys

from tokenctl import process
from tokenctl.audit import chain
from tokenctl.store.connection import Store


def main() -> None:
    process.harden()
    task = json.load(sys.stdin.buffer)
    store = Store.open(task["path"], only_look=True)
    if store is None:
        return
    with store.transaction(write=False):
        pieces = range((task["end"] - 1) * chain.PIECE, task["first"] * chain.PIECE - 1, -task["step"] * chain.PIECE)
        for position, root in chain.sound_pieces(store, iter(pieces)):
            sys.stdout.write(f"{position} {root.hex()}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
