"""Declares ``rotate-keys`` and its sub-verbs."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

EPILOG = epilog(
    [
        "tokenctl rotate-keys status",
        "tokenctl rotate-keys jwks",
        "tokenctl rotate-keys jwks --out /srv/www/jwks.json",
    ],
    [0, 2, 4, 7, 9, 10],
)


@with_globals
def rotate_keys(
    ctx: typer.Context,
    root: Annotated[bool, typer.Option("--root", help="Replace the root secret, and all that is derived from it.")] = False,
) -> int:
    """Show the signing keys and their public part."""
    if root:
        from tokenctl.commands.root_secret import rotate as rotate_root

        return rotate_root(ctx.obj.context())
    from tokenctl.commands.rotate_keys import rotate

    return rotate(ctx.obj.context())


@with_globals
def status(ctx: typer.Context) -> int:
    """List the signing keys and their states."""
    from tokenctl.commands.rotate_keys import status as act

    return act(ctx.obj.context())


@with_globals
def jwks(
    ctx: typer.Context,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write it there, 0644, whole.")] = None,
) -> int:
    """Print the public keys as a JWK Set."""
    from tokenctl.commands.rotate_keys import jwks as act

    return act(ctx.obj.context(), out=out)


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True, epilog=EPILOG)
    group.callback()(rotate_keys)
    group.command("status", epilog=EPILOG)(status)
    group.command("jwks", epilog=EPILOG)(jwks)
    app.add_typer(group, name="rotate-keys")
