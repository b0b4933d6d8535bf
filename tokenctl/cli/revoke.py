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
        typer.Option(
            "--reason", metavar="R", help="compromised, superseded, unused, owner_left, policy, undelivered, test or other."
        ),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="N", help="What happened.")] = None,
    ticket: Annotated[str | None, typer.Option("--ticket", metavar="T", help="Where it is followed up.")] = None,
    keep_children: Annotated[bool, typer.Option("--keep-children", help="Leave the children alone.")] = False,
    suspend: Annotated[bool, typer.Option("--suspend", help="Deny until lifted, or for a time.")] = False,
    duration: Annotated[str | None, typer.Option("--for", metavar="D", help="Suspend so long; needs --then.")] = None,
    then: Annotated[str | None, typer.Option("--then", metavar="T", help="What comes after --for: lift or revoke.")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="End a suspension.")] = False,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would be done.")] = False,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="With --dry-run: write a plan.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", metavar="FILE", help="Carry out a plan, within 1h.")] = None,
    expect: Annotated[int | None, typer.Option("--expect", metavar="N", help="Do it only if it changes N tokens.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="An unknown id is no failure.")] = False,
    wait: Annotated[str | None, typer.Option("--wait", metavar="D", help="Ask a service so long until it denies.")] = None,
    including_self: Annotated[bool, typer.Option("--including-self", help="Your own credential too.")] = False,
    ask: Annotated[
        str | None, typer.Option("--ask", metavar="PROFILE", help="Send tokens to this profile's service, whatever they are.")
    ] = None,
    all_profiles: Annotated[bool, typer.Option("--all-profiles", help="Ask whichever profile each belongs to.")] = False,
) -> int:
    """Deny tokens for good or for a time; tell what became of each."""
    from tokenctl.commands.revoke import Order
    from tokenctl.commands.revoke import revoke as act

    order = Order(
        targets=tuple(targets or ()), sources=tuple(source or ()), selectors=selectors, reason=reason, note=note,
        ticket=ticket, keep_children=keep_children, suspend=suspend, duration=duration, then=then, lift=lift,
        dry_run=dry_run, out=out, plan=plan, expect=expect, yes=yes, ignore_not_found=ignore_not_found,
        wait=wait, including_self=including_self, ask=ask, all_profiles=all_profiles,
    )  # fmt: skip
    return act(ctx.obj.context(), order)


EPILOG = epilog(
    [
        "tokenctl revoke - --reason leaked --ticket INC-4711 < chat.txt",
        "tokenctl revoke --subject 'ci-*' --dry-run --out plan.json",
        "tokenctl revoke 0352Ldy4SKzRSvwVvSWvL6 --suspend --for 2h --then revoke",
    ],
    [0, 2, 3, 4, 5, 6, 7, 9, 10, 11],
    {3: "with --lift, a target stays denied"},
)


def register(app: typer.Typer) -> None:
    app.command("revoke", epilog=EPILOG)(revoke)
