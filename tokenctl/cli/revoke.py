"""Declares ``revoke``."""

from typing import Annotated, Any

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals
from tokenctl.cli.selectors import with_selectors

Texts = list[str] | None


@with_globals
@with_selectors
def revoke(
    ctx: typer.Context,
    selectors: Any,
    targets: Annotated[Texts, typer.Argument(metavar="[ID... | -]", help="Ids, or - to read what leaked from stdin.")] = None,
    source: Annotated[Texts, typer.Option("--from", metavar="FILE", help="Read what leaked from a file.")] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="R", help="compromised, superseded, unused, owner_left, policy, test or other."),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="N", help="What happened.")] = None,
    ticket: Annotated[str | None, typer.Option("--ticket", metavar="T", help="Where it is followed up.")] = None,
    expect: Annotated[int | None, typer.Option("--expect", metavar="N", help="Do it only if it revokes N tokens.")] = None,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would be revoked.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="An unknown id is no failure.")] = False,
) -> int:
    """Deny tokens, and tell what became of each."""
    from tokenctl.commands.revoke import Order
    from tokenctl.commands.revoke import revoke as act

    order = Order(
        targets=tuple(targets or ()), sources=tuple(source or ()), selectors=selectors, reason=reason, note=note,
        ticket=ticket, expect=expect, dry_run=dry_run, yes=yes, ignore_not_found=ignore_not_found,
    )  # fmt: skip
    return act(ctx.obj.context(), order)


EPILOG = epilog(
    [
        "tokenctl revoke 0352Ldy4SKzRSvwVvSWvL6 --reason compromised --yes",
        "tokenctl revoke - --reason leaked --ticket INC-4711 < chat.txt",
        "tokenctl revoke --subject 'ci-*' --dry-run",
    ],
    [0, 2, 4, 5, 6, 7, 9, 10, 11],
)


def register(app: typer.Typer) -> None:
    app.command("revoke", epilog=EPILOG)(revoke)
