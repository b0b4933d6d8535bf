"""Declares ``audit review`` and ``audit reconcile``: what is wrong, and what is left half done."""

from functools import partial
from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

REVIEW_EPILOG = epilog(
    [
        "tokenctl audit review", "tokenctl audit review -q --fail-on warning",
        "tokenctl audit review --baseline known.json -o sarif",
    ],
    [0, 2, 3, 4, 7, 9, 10],
    {0: "nothing found, or nothing that severe", 3: "something was found"},
)  # fmt: skip
RECONCILE_EPILOG = epilog(
    ["tokenctl audit reconcile", "tokenctl audit reconcile -n", "tokenctl audit reconcile -o jsonl"],
    [0, 2, 4, 7, 9, 10, 11],
    {0: "all that was due is settled", 11: "something could not be settled"},
)


@partial(with_globals, outputs=("sarif",))
def review(
    ctx: typer.Context,
    rule: Annotated[list[str] | None, typer.Option("--rule", metavar="ID", help="Look for this alone.")] = None,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", metavar="error|warning|note", help="Exit 3 from this severity on; default note.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="FILE", help="Leave out what this file knows.")
    ] = None,
    write_baseline: Annotated[
        str | None, typer.Option("--write-baseline", metavar="FILE", help="Write what is found there, as known from now on.")
    ] = None,
) -> int:
    """Find mistakes, and the command that mends each."""
    from tokenctl.commands.audit.review import Asked
    from tokenctl.commands.audit.review import review as act

    asked = Asked(rules=tuple(rule or ()), fail_on=fail_on, baseline=baseline, write_baseline=write_baseline)
    return act(ctx.obj.context(), asked)


@with_globals
def reconcile(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would be settled.")] = False,
) -> int:
    """Settle tokens that never arrived, and all else that has come due."""
    from tokenctl.commands.audit.reconcile import reconcile as act

    return act(ctx.obj.context(), dry_run=dry_run)
