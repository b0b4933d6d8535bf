"""Declares ``store`` and its sub-verbs."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

_CODES = [0, 2, 4, 5, 7, 9, 10]
_INFO = "tokenctl store info"
_ACCEPT = "tokenctl store accept-clock --reason 'the time server was a year ahead'"
_MOVE = "tokenctl store move-secret keyring"
_RELEASE = "tokenctl store release --reason 'restored from the backup of Monday'"
EPILOG = epilog([_INFO, _MOVE, _RELEASE], [0, 2, 4, 5, 6, 7, 9, 10])
INFO_EPILOG = epilog([_INFO, "tokenctl -p staging store info -o json", "tokenctl store info | grep ^anchor"], _CODES)
ACCEPT_EPILOG = epilog([_ACCEPT, "tokenctl store accept-clock --yes", "tokenctl audit log --operation store.clock"], _CODES)
RELEASE_EPILOG = epilog(
    [_RELEASE, "tokenctl -p staging store release --reason 'disk replaced' --yes", "tokenctl audit verify"], _CODES
)
MOVE_EPILOG = epilog(
    [_MOVE, "tokenctl store move-secret file", "tokenctl -p prod store move-secret credential"], [0, 2, 4, 5, 6, 7, 9, 10]
)
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]


@with_globals
def info(ctx: typer.Context) -> int:
    """Tell what the store is, where it lies and how it stands."""
    from tokenctl.commands.store_info import info as act

    return act(ctx.obj.context())


@with_globals
def accept_clock(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="Why the last record was ahead.")] = None,
    yes: Yes = False,
) -> int:
    """Go on from the present clock after a record ahead of it.

    issue refuses while the clock stands more than 5 minutes behind the last
    record. This records the correction. Nothing comes back to life: tokens that
    had ended by the time of the last record, and tokens issued ahead of the
    clock, are revoked with it.
    """
    from tokenctl.commands.store import accept_clock as act

    return act(ctx.obj.context(), reason=reason, yes=yes)


@with_globals
def move_secret(
    ctx: typer.Context, place: Annotated[str, typer.Argument(metavar="PLACE", help="keyring, file or credential.")]
) -> int:  # fmt: skip
    """Move the root secret to another place.

    It is written there and read back, the store records where it lies, and only
    then it is wiped from the place before. credential is systemd's: its operator
    has placed the same secret there, which is checked before the file is wiped.
    """
    from tokenctl.commands.root_secret import move

    return move(ctx.obj.context(), place)


@with_globals
def release(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="Why the store may be believed.")] = None,
    yes: Yes = False,
) -> int:
    """Accept a quarantined store as it is, with a record."""
    from tokenctl.commands.store import release as act

    return act(ctx.obj.context(), reason=reason, yes=yes)


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, help="Look after the local store.", epilog=EPILOG)
    group.command("info", epilog=INFO_EPILOG)(info)
    group.command("move-secret", epilog=MOVE_EPILOG)(move_secret)
    group.command("accept-clock", epilog=ACCEPT_EPILOG)(accept_clock)
    group.command("release", epilog=RELEASE_EPILOG)(release)
    app.add_typer(group, name="store")
