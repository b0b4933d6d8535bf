"""Declares ``audit`` and its sub-verbs; bare ``audit`` is ``audit log``."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

Texts = list[str] | None
Since = Annotated[str | None, typer.Option("--since", metavar="T", help="From then on; 2h is two hours ago.")]
Until = Annotated[str | None, typer.Option("--until", metavar="T", help="Before then.")]
Operation = Annotated[Texts, typer.Option("--operation", metavar="OP", help="By operation, for example token.issue.")]
Actor = Annotated[Texts, typer.Option("--actor", metavar="WHO", help="By actor, for example alice@build-07.")]
RequestId = Annotated[Texts, typer.Option("--request-id", metavar="R", help="By request id.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="The newest N only.")]
EPILOG = epilog(
    ["tokenctl audit log --since 2h", "tokenctl audit show 0352Ldy4SKzRSvwVvSWvL6", "tokenctl audit verify -q"],
    [0, 2, 4, 5, 7, 9, 10],
)


def _log(
    ctx: typer.Context, since: str | None, until: str | None, operation: Texts, actor: Texts, request_id: Texts, limit: int | None
) -> int:  # fmt: skip
    from tokenctl.commands.audit.log import log as act

    return act(
        ctx.obj.context(), since=since, until=until, operation=tuple(operation or ()), actor=tuple(actor or ()),
        request_id=tuple(request_id or ()), limit=limit,
    )  # fmt: skip


@with_globals
def audit(
    ctx: typer.Context, since: Since = None, until: Until = None, operation: Operation = None, actor: Actor = None,
    request_id: RequestId = None, limit: Limit = None,
) -> int:  # fmt: skip
    """Show and check the record of everything that happened."""
    return _log(ctx, since, until, operation, actor, request_id, limit)


@with_globals
def log(
    ctx: typer.Context, since: Since = None, until: Until = None, operation: Operation = None, actor: Actor = None,
    request_id: RequestId = None, limit: Limit = None,
) -> int:  # fmt: skip
    """List the records, oldest first."""
    return _log(ctx, since, until, operation, actor, request_id, limit)


@with_globals
def show(ctx: typer.Context, target: Annotated[str, typer.Argument(metavar="ID", help="A token or a key.")]) -> int:
    """Tell the life of one token or key."""
    from tokenctl.commands.audit.log import show as act

    return act(ctx.obj.context(), target)


@with_globals
def verify(ctx: typer.Context) -> int:
    """Check the whole log, and every row against it."""
    from tokenctl.commands.audit.verify import verify_log

    return verify_log(ctx.obj.context())


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True, epilog=EPILOG)
    group.callback()(audit)
    for name, verb in (("log", log), ("show", show), ("verify", verify)):
        group.command(name, epilog=EPILOG)(verb)
    app.add_typer(group, name="audit")
