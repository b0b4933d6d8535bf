"""Declares ``inspect``."""

from functools import partial
from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

Texts = list[str] | None


@partial(with_globals, outputs=("introspection",))
def inspect(
    ctx: typer.Context,
    targets: Annotated[Texts, typer.Argument(metavar="[ID... | -]", help="Ids, or - to read tokens from stdin.")] = None,
    file: Annotated[str | None, typer.Option("--file", metavar="F", help="Read tokens from a file.")] = None,
    fd: Annotated[int | None, typer.Option("--fd", metavar="N", help="Read tokens from a descriptor.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Accept the token: check, count and spend one use.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Form, checksum, signature and time only.")] = False,
    valid_for: Annotated[str | None, typer.Option("--valid-for", metavar="D", help="It must last this long.")] = None,
    jwks: Annotated[str | None, typer.Option("--jwks", metavar="FILE|URL", help="Keys of a JWT's issuer.")] = None,
    issuer: Annotated[str | None, typer.Option("--issuer", metavar="I", help="The issuer it must be from.")] = None,
    audience: Annotated[Texts, typer.Option("--audience", metavar="A", help="Who you are to the token.")] = None,
    any_audience: Annotated[bool, typer.Option("--any-audience", help="Whoever it is for.")] = False,
    scope: Annotated[Texts, typer.Option("--scope", metavar="SC", help="What it must grant.")] = None,
    leeway: Annotated[str | None, typer.Option("--leeway", metavar="D", help="Clock skew allowed, at most 5m.")] = None,
    ignore_binding: Annotated[bool, typer.Option("--ignore-binding", help="Accept it without proof of its key.")] = False,
    ask: Annotated[
        str | None, typer.Option("--ask", metavar="PROFILE", help="Send it to this profile's service, whatever it is.")
    ] = None,
    all_profiles: Annotated[bool, typer.Option("--all-profiles", help="Ask whichever profile it belongs to.")] = False,
) -> int:
    """Say whether a token is accepted, and why not."""
    from tokenctl.commands.inspect import Question
    from tokenctl.commands.inspect import inspect as act

    question = Question(
        targets=tuple(targets or ()), file=file, fd=fd, use=use, offline=offline, valid_for=valid_for, jwks=jwks,
        issuer=issuer, audience=tuple(audience or ()), any_audience=any_audience, scope=tuple(scope or ()), leeway=leeway,
        ignore_binding=ignore_binding, ask=ask, all_profiles=all_profiles,
    )  # fmt: skip
    return act(ctx.obj.context(), question)


EPILOG = epilog(
    [
        "tokenctl inspect 0352Ldy4SKzRSvwVvSWvL6",
        "tokenctl inspect - --audience api.example < token.jwt",
        "tokenctl inspect --use --file token -q",
    ],
    [0, 2, 3, 4, 5, 7, 9, 10, 11],
)


def register(app: typer.Typer) -> None:
    app.command("inspect", epilog=EPILOG)(inspect)
