"""Declares ``completion``."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals


@with_globals
def completion(
    ctx: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="The shell that is to complete.")],
) -> int:
    """Print the completion script of a shell."""
    from tokenctl.commands.completion import completion as act

    return act(ctx.obj.context(), shell)


EPILOG = epilog(
    [
        "tokenctl completion bash > /etc/bash_completion.d/tokenctl",
        "tokenctl completion zsh > ~/.zfunc/_tokenctl",
        "tokenctl completion fish > ~/.config/fish/completions/tokenctl.fish",
    ],
    [0, 2, 7, 9],
)


def register(app: typer.Typer) -> None:
    app.command("completion", epilog=EPILOG)(completion)
