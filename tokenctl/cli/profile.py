"""Declares ``profile`` and its sub-verbs."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

Name = Annotated[str, typer.Argument(metavar="NAME", help="The profile.")]
EPILOG = epilog(
    ["tokenctl profile list", "tokenctl profile use staging",
     "tokenctl profile add prod --backend oauth2 --issuer https://as.example --client-id ops"],
    [0, 2, 5, 6, 7, 8, 9],
)


@with_globals
def add(
    ctx: typer.Context,
    name: Name,
    backend: Annotated[
        str, typer.Option("--backend", metavar="B", help="What keeps the tokens: local, oauth2 or openbao.")
    ] = "local",
    issuer: Annotated[
        str | None, typer.Option("--issuer", metavar="I", help="iss of its JWTs; the authorization server.")
    ] = None,
    default_audience: Annotated[str | None, typer.Option("--default-audience", metavar="A", help="aud of its JWTs.")] = None,
    eddsa_name: Annotated[str | None, typer.Option("--eddsa-name", metavar="N", help="EdDSA or Ed25519 in headers.")] = None,
    jwks_file: Annotated[
        str | None, typer.Option("--jwks-file", metavar="FILE", help="Where its public keys are written for verifiers.")
    ] = None,
    verifier: Annotated[
        list[str] | None, typer.Option("--verifier", metavar="URL", help="Where a verifier shows its keys.")
    ] = None,
    address: Annotated[str | None, typer.Option("--address", metavar="URL", help="Where OpenBao or Vault answers.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", metavar="NS", help="The namespace there.")] = None,
    approle_mount: Annotated[
        str | None, typer.Option("--approle-mount", metavar="PATH", help="Where its AppRoles log in; default approle.")
    ] = None,
    transit_mount: Annotated[
        str | None, typer.Option("--transit-mount", metavar="PATH", help="The transit engine whose keys rotate-keys is for.")
    ] = None,
    client_id: Annotated[str | None, typer.Option("--client-id", metavar="ID", help="Your client at the issuer.")] = None,
    client_auth: Annotated[
        str | None, typer.Option("--client-auth", metavar="M", help="client_secret_basic, client_secret_post, private_key_jwt.")
    ] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", metavar="NAME=URL", help="An endpoint, in place of the issuer's own word.")
    ] = None,
    ca_file: Annotated[str | None, typer.Option("--ca-file", metavar="FILE", help="The certificates to trust, PEM.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Confirm endpoints at other origins.")] = False,
) -> int:
    """Make a profile."""
    from tokenctl.commands.profile import add as act
    from tokenctl.commands.profile_remote import Remote

    remote = Remote(address, namespace, client_id, client_auth, tuple(endpoint or ()), ca_file, approle_mount, transit_mount)
    return act(
        ctx.obj.context(), name, backend=backend, issuer=issuer, default_audience=default_audience, eddsa_name=eddsa_name,
        jwks_file=jwks_file, verifiers=tuple(verifier or ()), remote=remote, yes=yes,
    )  # fmt: skip


@with_globals
def list_(ctx: typer.Context) -> int:
    """List the profiles."""
    from tokenctl.commands.profile import list_profiles

    return list_profiles(ctx.obj.context())


@with_globals
def show(
    ctx: typer.Context, name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Default: the one in use.")] = None
) -> int:
    """Show a profile's settings, places and policy."""
    from tokenctl.commands.profile import show as act

    return act(ctx.obj.context(), name)


@with_globals
def use(ctx: typer.Context, name: Name) -> int:
    """Choose the profile that is meant where none is named."""
    from tokenctl.commands.profile import use as act

    return act(ctx.obj.context(), name)


@with_globals
def remove(ctx: typer.Context, name: Name, yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False) -> int:
    """Remove a profile; its store stays."""
    from tokenctl.commands.profile import remove as act

    return act(ctx.obj.context(), name, yes=yes)


@with_globals
def trust(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="The issuer, to the letter as its JWTs carry it.")],
    remove: Annotated[bool, typer.Option("--remove", help="Trust it no more.")] = False,
    ca_file: Annotated[str | None, typer.Option("--ca-file", metavar="FILE", help="The certificates to trust, PEM.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Confirm keys at another origin.")] = False,
) -> int:
    """Believe the JWTs of an issuer, by the keys that it publishes."""
    from tokenctl.commands.profile_trust import trust as act

    return act(ctx.obj.context(), url, remove=remove, ca_file=ca_file, yes=yes)


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, no_args_is_help=False, help="Choose where tokenctl works.", epilog=EPILOG)
    for name, verb in (("add", add), ("list", list_), ("show", show), ("use", use), ("trust", trust), ("remove", remove)):
        group.command(name, epilog=EPILOG)(verb)
    app.add_typer(group, name="profile")
