"""Declares ``issue``."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

Texts = list[str] | None


@with_globals
def issue(
    ctx: typer.Context,
    command: Annotated[Texts, typer.Argument(metavar="[-- CMD...]", help="A command that the token lives as long as.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", metavar="S", help="Whom the token stands for.")] = None,
    scope: Annotated[Texts, typer.Option("--scope", metavar="SC", help="What it may do; once for each.")] = None,
    audience: Annotated[Texts, typer.Option("--audience", metavar="A", help="Which service accepts it.")] = None,
    ttl: Annotated[str | None, typer.Option("--ttl", metavar="D", help="How long it lives: 15m, 12h, 30d.")] = None,
    format_: Annotated[str | None, typer.Option("--format", metavar="F", help="opaque (default) or jwt.")] = None,
    algorithm: Annotated[str | None, typer.Option("--algorithm", metavar="A", help="ES256, EdDSA, PS256 or RS256.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="K", help="access (default), personal or service.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="O", help="Who answers for it; default you.")] = None,
    label: Annotated[Texts, typer.Option("--label", metavar="K=V", help="A mark to select it by.")] = None,
    claim: Annotated[Texts, typer.Option("--claim", metavar="K=JSON", help="A claim of a JWT; never stored.")] = None,
    not_before: Annotated[str | None, typer.Option("--not-before", metavar="T", help="Not accepted before.")] = None,
    max_uses: Annotated[int | None, typer.Option("--max-uses", metavar="N", help="Spent after N uses, children's too.")] = None,
    parent: Annotated[str | None, typer.Option("--parent", metavar="ID", help="It dies with this token.")] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="N", help="What it is for.")] = None,
    request_id: Annotated[str | None, typer.Option("--request-id", metavar="R", help="Makes a rerun safe.")] = None,
    accept_less: Annotated[bool, typer.Option("--accept-less", help="Take less scope, if a service grants less.")] = False,
    exchange: Annotated[
        str | None, typer.Option("--exchange", metavar="FILE|-", help="A job's identity that a service gives it for.")
    ] = None,
    exchange_fd: Annotated[int | None, typer.Option("--exchange-fd", metavar="N", help="Read that from a descriptor.")] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write the token there, 0600.")] = None,
    mode: Annotated[str | None, typer.Option("--mode", metavar="M", help="Mode of that file.")] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="G", help="Group of that file.")] = None,
    fd: Annotated[int | None, typer.Option("--fd", metavar="N", help="Write the token to a descriptor.")] = None,
    count: Annotated[int | None, typer.Option("--count", metavar="N", help="Make so many, as JSON lines.")] = None,
    source: Annotated[str | None, typer.Option("--from", metavar="FILE|-", help="Make one for each line of JSON.")] = None,
    replace: Annotated[str | None, typer.Option("--replace", metavar="ID", help="Give the rights of this token anew.")] = None,
    grace: Annotated[str | None, typer.Option("--grace", metavar="D", help="How long that one goes on; default 24h.")] = None,
    env: Annotated[str | None, typer.Option("--env", metavar="NAME", help="CMD's variable, not TOKENCTL_TOKEN.")] = None,
    child_fd: Annotated[int | None, typer.Option("--child-fd", metavar="N", help="CMD reads it from there.")] = None,
    no_mask: Annotated[bool, typer.Option("--no-mask", help="CMD's output is not looked at.")] = False,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would be issued, and which rule decides.")] = False,
) -> int:
    """Make a token and print it, once."""
    from tokenctl.commands.issue import Manner
    from tokenctl.commands.issue import issue as act
    from tokenctl.commands.issue_request import Wish

    wish = Wish(
        subject=subject, scope=tuple(scope or ()), audience=tuple(audience or ()), ttl=ttl, format=format_,
        algorithm=algorithm, kind=kind, owner=owner, label=tuple(label or ()), claim=tuple(claim or ()),
        not_before=not_before, max_uses=max_uses, parent=parent, note=note, request_id=request_id,
        replace=replace, grace=grace, accept_less=accept_less,
    )  # fmt: skip
    manner = Manner(
        out=out, mode=mode, group=group, fd=fd, dry_run=dry_run, number=count, source=source,
        command=ctx.obj.command_of(command), variable=env, child_fd=child_fd, masked=not no_mask,
        exchange=exchange, exchange_fd=exchange_fd,
    )  # fmt: skip
    return act(ctx.obj.context(), wish, manner)


EPILOG = epilog(
    [
        "tokenctl issue --subject ci --scope deploy:write --ttl 15m",
        "tokenctl issue --subject gw --format jwt --audience api.example -o json",
        "tokenctl issue --subject bot --kind service --scope repo:read --out bot.token",
        "tokenctl issue --subject ci --scope deploy:write -- ./deploy.sh",
        "tokenctl issue --exchange - --audience https://api.example --scope deploy -- ./deploy.sh < identity.jwt",
        "tokenctl issue --from people.jsonl --kind personal --request-id 2026-11",
        "tokenctl issue --replace 0352Ldy4SKzRSvwVvSWvL6 --grace 1h --out bot.token",
    ],
    [0, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 126, 127],
)


def register(app: typer.Typer) -> None:
    app.command("issue", epilog=EPILOG)(issue)
