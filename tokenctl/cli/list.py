"""Declares ``list``."""

from typing import Annotated, Any

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals
from tokenctl.cli.selectors import with_selectors


@with_globals
@with_selectors
def list_(
    ctx: typer.Context,
    selectors: Any,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="At most so many.")] = None,
    after: Annotated[str | None, typer.Option("--after", metavar="ID", help="Go on behind this one.")] = None,
) -> int:
    """List tokens, the first to expire first."""
    from tokenctl.commands.list import list_tokens

    return list_tokens(ctx.obj.context(), selectors, limit=limit, after=after)


EPILOG = epilog(
    [
        "tokenctl list --subject 'ci-*'",
        "tokenctl list --expires-before +7d -o jsonl",
        "tokenctl list --owner alice | tokenctl revoke - --reason owner_left --yes",
    ],
    [0, 2, 4, 5, 7, 9, 10],
)


def register(app: typer.Typer) -> None:
    app.command("list", epilog=EPILOG)(list_)
