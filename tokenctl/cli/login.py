"""Declares ``login``, ``logout`` and ``whoami``."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals
from tokenctl.errors import InvalidRequest

LOGIN = epilog(
    ["tokenctl login --client-id deployer", "tokenctl -p vault login - < token.txt", "tokenctl login --rotate --yes"],
    [0, 2, 4, 5, 6, 7, 8, 9, 10, 11],
)
LOGOUT = epilog(
    ["tokenctl logout", "tokenctl -p vault logout --revoke", "tokenctl logout -q"], [0, 2, 4, 5, 6, 7, 8, 9, 10, 11]
)  # fmt: skip
WHOAMI = epilog(["tokenctl whoami", "tokenctl -p vault whoami -o json", "tokenctl -p prod whoami"], [0, 2, 4, 5, 7, 8, 9])


@with_globals
def login(
    ctx: typer.Context,
    place: Annotated[str | None, typer.Argument(metavar="[-]", help="Read the credential from standard input.")] = None,
    client_id: Annotated[str | None, typer.Option("--client-id", metavar="ID", help="The client that the secret is of.")] = None,
    role_id: Annotated[str | None, typer.Option("--role-id", metavar="ID", help="The AppRole that the secret id is of.")] = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="Let a fresh credential take the place of the one kept.")] = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Let the service replace the secret of the client.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> int:
    """Keep the credential of a remote profile in the keyring.

    It is asked for, or read from standard input, proved at the service, and
    kept with the origins that alone it is given to. With --rotate a fresh one
    takes its place, and standard input is an initial access token.
    """
    if rotate:
        if client_id is not None or role_id is not None:
            raise InvalidRequest("--rotate takes neither --client-id nor --role-id")
        from tokenctl.commands.login_rotate import rotate as act_on_kept

        return act_on_kept(ctx.obj.context(), place, in_place=in_place, yes=yes)
    if in_place or yes:
        raise InvalidRequest("--in-place and --yes go with --rotate")
    from tokenctl.commands.login import login as act

    return act(ctx.obj.context(), place, client_id=client_id, role_id=role_id)


@with_globals
def logout(
    ctx: typer.Context,
    revoke: Annotated[bool, typer.Option("--revoke", help="Let the service deny it first.")] = False,
) -> int:
    """Forget the credential of a remote profile."""
    from tokenctl.commands.login import logout as act

    return act(ctx.obj.context(), revoke=revoke)


@with_globals
def whoami(ctx: typer.Context) -> int:
    """Say who you are to the log and to the service."""
    from tokenctl.commands.login import whoami as act

    return act(ctx.obj.context())


def register(app: typer.Typer) -> None:
    app.command("login", epilog=LOGIN)(login)
    app.command("logout", epilog=LOGOUT)(logout)
    app.command("whoami", epilog=WHOAMI)(whoami)
