"""Declares ``audit`` and its sub-verbs; bare ``audit`` is ``audit log``."""

from typing import Annotated

import typer

from tokenctl.cli.audit_log import audit, log
from tokenctl.cli.audit_verify import CHECKPOINT_EPILOG, VERIFY_EPILOG, checkpoint, verify
from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

EPILOG = epilog(
    ["tokenctl audit log --since 2h", "tokenctl audit show 0352Ldy4SKzRSvwVvSWvL6", "tokenctl audit verify -q"],
    [0, 2, 4, 5, 7, 9, 10],
)
LOG_EPILOG = epilog(
    [
        "tokenctl audit log --token - < leaked.txt",
        "tokenctl audit log --owner alice --operation token.revoke --since 7d",
        "tokenctl audit log --follow -o jsonl",
    ],
    [0, 2, 4, 5, 7, 9, 10],
)


@with_globals
def show(
    ctx: typer.Context, target: Annotated[str, typer.Argument(metavar="ID", help="A token or a key; - reads a token from stdin.")]
) -> int:  # fmt: skip
    """Tell the life of one token or key."""
    from tokenctl.commands.audit.show import show as act

    return act(ctx.obj.context(), target)


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True, epilog=EPILOG)
    group.callback()(audit)
    verbs = (
        ("log", log, LOG_EPILOG), ("show", show, EPILOG), ("verify", verify, VERIFY_EPILOG),
        ("checkpoint", checkpoint, CHECKPOINT_EPILOG),
    )  # fmt: skip
    for name, verb, epilogue in verbs:
        group.command(name, epilog=epilogue)(verb)
    app.add_typer(group, name="audit")
