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
_BACKUP = "tokenctl store backup nightly.age --recipient age1... --yes"
_RESTORE = "tokenctl store restore nightly.age --identity key.txt --dry-run"
_SEAL = "tokenctl store seal --reason 'the laptop was stolen'"
_MOVING_CODES = [0, 2, 4, 5, 6, 7, 9, 10]
EPILOG = epilog([_INFO, _BACKUP, _RESTORE], _MOVING_CODES)
INFO_EPILOG = epilog([_INFO, "tokenctl -p staging store info -o json", "tokenctl store info | grep ^anchor"], _CODES)
ACCEPT_EPILOG = epilog([_ACCEPT, "tokenctl store accept-clock --yes", "tokenctl audit log --operation store.clock"], _CODES)
RELEASE_EPILOG = epilog(
    [_RELEASE, "tokenctl -p staging store release --reason 'disk replaced' --yes", "tokenctl audit verify"], _CODES
)
MOVE_EPILOG = epilog([_MOVE, "tokenctl store move-secret file", "tokenctl -p prod store move-secret credential"], _MOVING_CODES)
BACKUP_EPILOG = epilog(
    ["tokenctl store backup before-upgrade.age", _BACKUP, "tokenctl store backup - --recipients-file keys.txt > nightly.age"],
    _CODES,
)
RESTORE_EPILOG = epilog(
    [_RESTORE, "tokenctl store restore before-upgrade.age", "tokenctl store restore - --identity key.txt --yes < nightly.age"],
    [code for code in _MOVING_CODES if code != 5],
)
SEAL_EPILOG = epilog([_SEAL, "tokenctl -p staging store seal --reason audit", "tokenctl store release --reason found"], _CODES)
PassphraseFile = Annotated[
    str | None, typer.Option("--passphrase-file", metavar="F", help="The passphrase is the line in F.")
]
PassphraseFd = Annotated[int | None, typer.Option("--passphrase-fd", metavar="N", help="The same, from a descriptor.")]
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
def release(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="Why the store may be believed.")] = None,
    yes: Yes = False,
) -> int:
    """Accept a quarantined store as it is, with a record."""
    from tokenctl.commands.store import release as act

    return act(ctx.obj.context(), reason=reason, yes=yes)


@with_globals
def move_secret(
    ctx: typer.Context, place: Annotated[str, typer.Argument(metavar="keyring|file|credential", help="Where it is to lie.")]
) -> int:  # fmt: skip
    """Move the root secret to another place.

    It is written there and read back, the store records where it lies, and only
    then it is wiped from the place before. credential is systemd's: its operator
    has placed the same secret there, which is checked before the file is wiped.
    """
    from tokenctl.commands.root_secret import move

    return move(ctx.obj.context(), place)


@with_globals
def backup(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file to write; - is standard output.")],
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", metavar="R", help="Who can open it: age1..., or an SSH public key.")
    ] = None,
    recipients_file: Annotated[str | None, typer.Option("--recipients-file", metavar="F", help="One recipient a line.")] = None,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    without_keys: Annotated[bool, typer.Option("--without-keys", help="Leave the root secret out.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Replace a file that is there.")] = False,
) -> int:
    """Write the store and its root secret to a file, encrypted.

    The file is one of age: age -d opens it too, and it holds a tar. Without
    recipients it is encrypted with a passphrase, asked for twice. Nobody has
    to wait, and a quarantined store can be backed up too. The backup is a
    record.
    """
    from tokenctl.commands.backup_keys import Passphrase
    from tokenctl.commands.store_backup import backup as act

    return act(
        ctx.obj.context(), file, recipients=tuple(recipient or ()), recipients_file=recipients_file,
        passphrase=Passphrase(passphrase_file, passphrase_fd), without_keys=without_keys, yes=yes,
    )  # fmt: skip


@with_globals
def restore(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The backup; - is standard input.")],
    identity: Annotated[
        list[str] | None, typer.Option("--identity", metavar="F", help="The file of an age identity that opens it.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    keep_active: Annotated[bool, typer.Option("--keep-active", help="Do not suspend its tokens.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="Why, for the record.")] = None,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Check the backup and say what would be done.")] = False,
) -> int:
    """Put a backup in place of the store.

    All of it is checked before. A token that was revoked after the backup was
    made must not come back to life: every token that may be accepted is
    suspended until revoke --lift, and what the present store still tells of
    revocations is taken over. The present store is kept aside.
    """
    from tokenctl.commands.backup_keys import Passphrase
    from tokenctl.commands.store_restore import restore as act

    return act(
        ctx.obj.context(), file, identities=tuple(identity or ()), passphrase=Passphrase(passphrase_file, passphrase_fd),
        keep_active=keep_active, reason=reason, yes=yes, dry_run=dry_run,
    )  # fmt: skip


@with_globals
def seal(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="Why nothing here may be believed.")] = None,
) -> int:
    """Quarantine the store by hand, with a record.

    Nothing is issued and no token is called active until store release;
    revoke and audit go on working.
    """
    from tokenctl.commands.store import seal as act

    return act(ctx.obj.context(), reason=reason)


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, help="Look after the local store.", epilog=EPILOG)
    group.command("info", epilog=INFO_EPILOG)(info)
    group.command("move-secret", epilog=MOVE_EPILOG)(move_secret)
    group.command("backup", epilog=BACKUP_EPILOG)(backup)
    group.command("restore", epilog=RESTORE_EPILOG)(restore)
    group.command("accept-clock", epilog=ACCEPT_EPILOG)(accept_clock)
    group.command("seal", epilog=SEAL_EPILOG)(seal)
    group.command("release", epilog=RELEASE_EPILOG)(release)
    app.add_typer(group, name="store")
