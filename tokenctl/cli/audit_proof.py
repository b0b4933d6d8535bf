"""Declares ``audit checkpoint``, and the options of proofs."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

CHECKPOINT_EPILOG = epilog(
    [
        "tokenctl audit checkpoint --out /srv/witness/head.txt", "tokenctl audit checkpoint --key",
        "tokenctl audit checkpoint -o json | jq -r .note",
    ],
    [0, 2, 4, 5, 7, 9, 10],
    {5: "there is no store, or no key to hand over", 10: "the store is quarantined: no head of it is signed"},
)  # fmt: skip
Out = Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write it there, whole; - is stdout.")]
Prove = Annotated[bool, typer.Option("--proof", help="Print the proof that its newest record is in the log.")]
Seq = Annotated[int | None, typer.Option("--seq", metavar="N", help="With --proof: of this record about it.")]
Disclose = Annotated[bool, typer.Option("--disclose", help="With --proof: tell the parameters that it commits to.")]


@with_globals
def checkpoint(
    ctx: typer.Context,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write it there, 0644, whole; - is stdout.")] = None,
    key: Annotated[bool, typer.Option("--key", help="Print the verifier key of the log instead.")] = False,
    handover: Annotated[bool, typer.Option("--handover", help="Print what proves the key to who knows the one before.")] = False,
) -> int:
    """Sign the head of the log, for others to keep."""
    from tokenctl.commands.audit.checkpoint import checkpoint as act

    return act(ctx.obj.context(), out=out, key=key, handover=handover)
