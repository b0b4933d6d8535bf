"""Declares ``store`` and its sub-verbs."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

EPILOG = epilog(
    [
        "tokenctl store release --reason 'restored from the backup of Monday'",
        "tokenctl -p staging store release --reason 'disk replaced' --yes",
        "tokenctl audit verify",
    ],
    [0, 2, 4, 5, 7, 9, 10],
)


@with_globals
def release(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="Why the store may be believed.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> int:
    """Accept a quarantined store as it is, with a record."""
    from tokenctl.commands.store import release as act

    return act(ctx.obj.context(), reason=reason, yes=yes)


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, help="Look after the local store.", epilog=EPILOG)
    group.command("release", epilog=EPILOG)(release)
    app.add_typer(group, name="store")
