"""Declares ``audit archive``."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

ARCHIVE_EPILOG = epilog(
    [
        "tokenctl audit archive --before 365d --out log-2025.archive --dry-run",
        "tokenctl audit archive --before 2026-01-01 --out log-2025.archive --yes",
        "tokenctl audit verify --archive log-2025.archive",
    ],
    [0, 2, 4, 5, 6, 7, 9, 10],
)


@with_globals
def archive(
    ctx: typer.Context,
    before: Annotated[str, typer.Option("--before", metavar="T", help="Of records before then; 365d is 365 days ago.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="The file to write; it must not be there.")],
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would be moved.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> int:
    """Move the bodies of old records to a file.

    Only what is told of tokens that ended before then, and of refused issues;
    records of keys, plans and the store stay whole. Every record keeps its
    number, time, operation, target, request, actor, ticket and hash, so the
    log is checked as before; verify --archive checks the bodies too. Keep the
    file: nothing else has them.
    """
    from tokenctl.commands.audit.archive import archive as act

    return act(ctx.obj.context(), before=before, out=out, dry_run=dry_run, yes=yes)
