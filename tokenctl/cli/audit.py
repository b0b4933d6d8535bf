"""Declares ``audit`` and its sub-verbs; bare ``audit`` is ``audit log``."""

from typing import Annotated

import typer

from tokenctl.cli.audit_archive import ARCHIVE_EPILOG, archive
from tokenctl.cli.audit_log import audit, log
from tokenctl.cli.audit_proof import CHECKPOINT_EPILOG, Disclose, Out, Prove, Seq, checkpoint
from tokenctl.cli.audit_review import RECONCILE_EPILOG, REVIEW_EPILOG, reconcile, review
from tokenctl.cli.audit_verify import VERIFY_EPILOG, verify
from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals
from tokenctl.errors import InvalidRequest

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
    [0, 2, 4, 5, 7, 9, 10, 11],
)


@with_globals
def show(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="ID", help="A token, a key or a record's number; - reads stdin.")],
    proof: Prove = False, seq: Seq = None, disclose: Disclose = False, out: Out = None,
) -> int:  # fmt: skip
    """Tell the life of one token or key, one record, or prove one."""
    if proof:
        from tokenctl.commands.audit.proof import prove

        return prove(ctx.obj.context(), target, seq=seq, disclose=disclose, out=out)
    if disclose or seq is not None or out is not None:
        raise InvalidRequest("--seq, --disclose and --out go with --proof", hint="tokenctl audit show ID --proof")
    from tokenctl.commands.audit.show import show as act

    return act(ctx.obj.context(), target)


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True, epilog=EPILOG)
    group.callback()(audit)
    verbs = (
        ("log", log, LOG_EPILOG), ("show", show, EPILOG), ("verify", verify, VERIFY_EPILOG),
        ("checkpoint", checkpoint, CHECKPOINT_EPILOG), ("review", review, REVIEW_EPILOG),
        ("reconcile", reconcile, RECONCILE_EPILOG), ("archive", archive, ARCHIVE_EPILOG),
    )  # fmt: skip
    for name, verb, epilogue in verbs:
        group.command(name, epilog=epilogue)(verb)
    app.add_typer(group, name="audit")
