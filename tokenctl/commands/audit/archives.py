"""The archives that ``audit verify`` is given, each proved by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenctl.formats.log_archive import Archive


@contextmanager
def opened(paths: tuple[str, ...]) -> Iterator[tuple[Archive, ...]]:
    """Open archives; raises InvalidRequest (exit 2) or IntegrityError (exit 10)."""
    if not paths:
        yield ()
        return
    from tokenctl.formats.log_archive import Archive

    with ExitStack() as stack:
        yield tuple(stack.enter_context(Archive.open(path)) for path in paths)
