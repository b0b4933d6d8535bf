"""Declares ``login``, ``logout`` and ``whoami``."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

LOGIN = epilog(
    ["tokenctl login --client-id deployer", "tokenctl -p vault login - < token.txt", "tokenctl -p vault login --role-id ID"],
    [0, 2, 4, 7, 8, 9],
)
LOGOUT = epilog(["tokenctl logout", "tokenctl -p vault logout --revoke", "tokenctl logout -q"], [0, 2, 4, 7, 8, 9])
WHOAMI = epilog(["tokenctl whoami", "tokenctl -p vault whoami -o json", "tokenctl -p prod whoami"], [0, 2, 4, 5, 7, 8, 9])


@with_globals
def login(
    ctx: typer.Context,
    place: Annotated[str | None, typer.Argument(metavar="[-]", help="Read the credential from standard input.")] = None,
    client_id: Annotated[str | None, typer.Option("--client-id", metavar="ID", help="The client that the secret is of.")] = None,
    role_id: Annotated[str | None, typer.Option("--role-id", metavar="ID", help="The AppRole that the secret id is of.")] = None,
) -> int:
    """Keep the credential of a remote profile in the keyring.

    It is asked for, or read from standard input, proved at the service, and
    kept with the origins that alone it is given to.
    """
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
