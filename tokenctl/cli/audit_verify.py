"""Declares ``audit verify`` and ``audit checkpoint``."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

VERIFY_EPILOG = epilog(
    [
        "tokenctl audit verify -q",
        "tokenctl audit verify --known-head kept.checkpoint --require-anchor",
        "tokenctl audit verify --quick",
    ],
    [0, 2, 4, 7, 9, 10],
    {10: "anything but OK, or no outside head where one is required"},
)
CHECKPOINT_EPILOG = epilog(
    [
        "tokenctl audit checkpoint", "tokenctl audit checkpoint --out /mnt/elsewhere/log.checkpoint",
        "tokenctl audit checkpoint --key",
    ],
    [0, 2, 4, 5, 7, 9, 10],
    {2: "usage, or a file that cannot be written"},
)  # fmt: skip
Texts = list[str] | None


@with_globals
def verify(
    ctx: typer.Context,
    full: Annotated[bool, typer.Option("--full", help="The whole log; alone: without the rows.")] = False,
    state: Annotated[bool, typer.Option("--state", help="Every row against its records; alone: the log unhashed.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Only what came since the last sound check.")] = False,
    known_head: Annotated[
        Texts, typer.Option("--known-head", metavar="FILE", help="A checkpoint that was kept elsewhere; - reads one from stdin.")
    ] = None,
    key: Annotated[Texts, typer.Option("--key", metavar="VKEY", help="The key that was kept with a checkpoint.")] = None,
    require_anchor: Annotated[
        bool, typer.Option("--require-anchor", help="Accept nothing that no head kept elsewhere agrees with.")
    ] = False,
) -> int:
    """Check the whole log, and every row against it."""
    from tokenctl.commands.audit.verify import Order, verify_log

    order = Order(
        full=full, state=state, quick=quick, known_heads=tuple(known_head or ()), keys=tuple(key or ()),
        require_anchor=require_anchor,
    )  # fmt: skip
    return verify_log(ctx.obj.context(), order)


@with_globals
def checkpoint(
    ctx: typer.Context,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write it there, 0644, whole.")] = None,
    key: Annotated[bool, typer.Option("--key", help="Print the key that verifies checkpoints of this log, alone.")] = False,
) -> int:
    """Print the signed head of the log, to be kept where nobody can reach both."""
    from tokenctl.commands.audit.checkpoint import checkpoint as act

    return act(ctx.obj.context(), out=out, key=key)
