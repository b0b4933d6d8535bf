"""Declares ``audit verify``."""

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
    proof: Annotated[
        str | None, typer.Option("--proof", metavar="FILE", help="Check this proof of a record alone; needs no store.")
    ] = None,
    key: Annotated[Texts, typer.Option("--key", metavar="VKEY", help="The key that was kept with a checkpoint or proof.")] = None,
    archive: Annotated[Texts, typer.Option("--archive", metavar="FILE", help="Check the bodies that moved to it too.")] = None,
    require_anchor: Annotated[
        bool, typer.Option("--require-anchor", help="Accept nothing that no head kept elsewhere agrees with.")
    ] = False,
) -> int:
    """Check the whole log, and every row against it; or a proof."""
    if proof is not None:
        from tokenctl.commands.audit.check_proof import check

        others = bool(full or state or quick or known_head or require_anchor or archive)
        return check(ctx.obj.context(), proof, keys=tuple(key or ()), alone=not others)
    from tokenctl.commands.audit.verify import Order, verify_log

    order = Order(
        full=full, state=state, quick=quick, known_heads=tuple(known_head or ()), keys=tuple(key or ()),
        require_anchor=require_anchor, archives=tuple(archive or ()),
    )  # fmt: skip
    return verify_log(ctx.obj.context(), order)
