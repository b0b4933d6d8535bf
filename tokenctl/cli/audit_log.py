"""Declares the questions of ``audit log``, which bare ``audit`` asks too."""

from functools import partial
from typing import Annotated, Any

import typer

from tokenctl.cli.options import with_globals
from tokenctl.cli.selectors import with_selectors

Texts = list[str] | None
Since = Annotated[str | None, typer.Option("--since", metavar="T", help="From then on; 2h is two hours ago.")]
Until = Annotated[str | None, typer.Option("--until", metavar="T", help="Before then.")]
Operation = Annotated[Texts, typer.Option("--operation", metavar="OP", help="By operation: token.issue, or all token.*.")]
Actor = Annotated[Texts, typer.Option("--actor", metavar="WHO", help="By actor, whole: alice@build-07.")]
Ticket = Annotated[Texts, typer.Option("--ticket", metavar="T", help="By ticket, whole.")]
RequestId = Annotated[Texts, typer.Option("--request-id", metavar="R", help="By request id, whole.")]
Target = Annotated[Texts, typer.Option("--target", metavar="ID", help="About this token, key or store.")]
Token = Annotated[str | None, typer.Option("--token", metavar="-", help="About tokens that prove themselves on stdin.")]
AllProfiles = Annotated[bool, typer.Option("--all-profiles", help="With --token: in whichever profile it belongs to.")]
Ask = Annotated[str | None, typer.Option("--ask", metavar="PROFILE", help="With --token: this profile, whatever it is.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="The newest N only; with --after the first N.")]
After = Annotated[int | None, typer.Option("--after", metavar="SEQ", help="Go on behind this record.")]
Before = Annotated[int | None, typer.Option("--before", metavar="SEQ", help="Go back from this record.")]
Raw = Annotated[bool, typer.Option("--raw", help="The verbatim bodies, one a line: the bytes that the tree hashes.")]
Follow = Annotated[bool, typer.Option("--follow", help="Go on with new records; --timeout ends it.")]
_selecting = partial(with_selectors, state="By state; default every one.")


def _ask(ctx: typer.Context, values: dict[str, Any]) -> int:
    from tokenctl.commands.audit.log import Question
    from tokenctl.commands.audit.log import log as act

    given = {name: value for name, value in values.items() if value is not None}
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    context = ctx.obj.context()
    return act(context, Question(**plain, patience=context.surroundings.timeout if "timeout" in ctx.obj.given else None))


@with_globals
@_selecting
def audit(
    ctx: typer.Context, selectors: Any, since: Since = None, until: Until = None, operation: Operation = None,
    actor: Actor = None, ticket: Ticket = None, request_id: RequestId = None, target: Target = None, token: Token = None,
    limit: Limit = None, after: After = None, before: Before = None, follow: Follow = False, raw: Raw = False,
    all_profiles: AllProfiles = False, ask: Ask = None,
) -> int:  # fmt: skip
    """Show and check the record of everything that happened."""
    return _ask(ctx, {name: value for name, value in locals().items() if name != "ctx"})


@with_globals
@_selecting
def log(
    ctx: typer.Context, selectors: Any, since: Since = None, until: Until = None, operation: Operation = None,
    actor: Actor = None, ticket: Ticket = None, request_id: RequestId = None, target: Target = None, token: Token = None,
    limit: Limit = None, after: After = None, before: Before = None, follow: Follow = False, raw: Raw = False,
    all_profiles: AllProfiles = False, ask: Ask = None,
) -> int:  # fmt: skip
    """List the records, oldest first."""
    return _ask(ctx, {name: value for name, value in locals().items() if name != "ctx"})
