"""Declares ``doctor``."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

EPILOG = epilog(
    ["tokenctl doctor", "tokenctl doctor --strict -q", "tokenctl -p staging doctor -o json"], [0, 2, 3, 4, 7, 9, 10],
    {3: "with --strict: there are warnings"},
)  # fmt: skip


@with_globals
def doctor(
    ctx: typer.Context,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 when there are warnings.")] = False,
) -> int:
    """Look for what is wrong, and name what mends it.

    Changes nothing. A failure exits with the worst code that the next verb
    would meet.
    """
    from tokenctl.commands.doctor import doctor as act

    return act(ctx.obj.context(), strict=strict)


def register(app: typer.Typer) -> None:
    app.command("doctor", epilog=EPILOG)(doctor)
