"""Declares ``rotate-keys`` and its sub-verbs."""

from typing import Annotated

import typer

from tokenctl.cli.help import epilog
from tokenctl.cli.options import with_globals

EPILOG = epilog(
    [
        "tokenctl rotate-keys",
        "tokenctl rotate-keys status",
        "tokenctl rotate-keys --compromised 0352N7GCqOIrhZZgDJPhK1 --verifier https://gw.example/jwks.json",
    ],
    [0, 2, 3, 4, 5, 6, 7, 9, 10, 11],
    {3: "--check: a step is due", 6: "a verifier lacks the key, or the key is still needed"},
)
_KID = "0352N7GCqOIrhZZgDJPhK1"
EPILOGS = {
    "status": epilog(
        [
            "tokenctl rotate-keys status", "tokenctl rotate-keys status --verifier https://gw.example/jwks.json",
            "tokenctl rotate-keys status -o json | jq .next",
        ],
        [0, 2, 4, 7, 9, 10],
    ),
    "jwks": epilog(
        [
            "tokenctl rotate-keys jwks", "tokenctl rotate-keys jwks --out /srv/www/jwks.json",
            "tokenctl rotate-keys jwks | jq -r '.keys[].kid'",
        ],
        [0, 2, 4, 7, 9, 10],
        {2: "usage, or a file that cannot be written"},
    ),
    "rollback": epilog(
        [
            "tokenctl rotate-keys rollback", "tokenctl rotate-keys rollback --algorithm EdDSA",
            "tokenctl rotate-keys rollback -o json",
        ],
        [0, 2, 4, 6, 7, 9, 10, 11],
        {6: "no key is retiring", 11: "the published file does not hold what it should"},
    ),
    "retire": epilog(
        [
            f"tokenctl rotate-keys retire {_KID}", f"tokenctl rotate-keys retire {_KID} -q",
            f"tokenctl rotate-keys retire {_KID} -o json",
        ],
        [0, 2, 4, 5, 6, 7, 9, 10, 11],
        {6: "it is active, or tokens need it", 11: "the key is still published"},
    ),
}  # fmt: skip
Algorithm = Annotated[str | None, typer.Option("--algorithm", metavar="A", help="This algorithm alone.")]
Verifiers = Annotated[list[str] | None, typer.Option("--verifier", metavar="URL", help="Ask there which keys a verifier has.")]


@with_globals
def rotate_keys(
    ctx: typer.Context,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", metavar="A", help="This one alone; publish a first key where it has none.")
    ] = None,
    if_older_than: Annotated[
        str | None,
        typer.Option("--if-older-than", metavar="D", help="Follow active keys older than this, not the policy's age; 0s: now."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 3 when a step is due.")] = False,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Say which steps would be taken.")] = False,
    verifier: Verifiers = None,
    unobserved: Annotated[bool, typer.Option("--unobserved", help="Let a key sign without asking any verifier.")] = False,
    compromised: Annotated[
        str | None, typer.Option("--compromised", metavar="KID", help="Deny this key and all that it signed, now.")
    ] = None,
    root: Annotated[bool, typer.Option("--root", help="Replace the root secret, and all that is derived from it.")] = False,
    log_key: Annotated[bool, typer.Option("--log-key", help="Replace the key that signs the heads of the log.")] = False,
) -> int:
    """Take every due step of the signing keys."""
    if root or log_key:
        named = (algorithm, if_older_than, compromised)
        alone = named == (None, None, None) and not any((check, dry_run, verifier, unobserved, root and log_key))
        if root:
            from tokenctl.commands.root_secret import rotate as rotate_root

            return rotate_root(ctx.obj.context(), alone=alone)
        from tokenctl.commands.audit.checkpoint import rotate as rotate_log_key

        return rotate_log_key(ctx.obj.context(), alone=alone)
    from tokenctl.commands.rotate_keys import Order, rotate

    order = Order(
        algorithm=algorithm, if_older_than=if_older_than, check=check, dry_run=dry_run, verifiers=tuple(verifier or ()),
        unobserved=unobserved, compromised=compromised,
    )  # fmt: skip
    return rotate(ctx.obj.context(), order)


@with_globals
def status(ctx: typer.Context, verifier: Verifiers = None) -> int:
    """List the signing keys, their states and what comes next."""
    from tokenctl.commands.rotate_keys import status as act

    return act(ctx.obj.context(), verifiers=tuple(verifier or ()))


@with_globals
def jwks(
    ctx: typer.Context,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write it there, 0644, whole; - is stdout.")] = None,
) -> int:
    """Print the public keys as a JWK Set."""
    from tokenctl.commands.rotate_keys import jwks as act

    return act(ctx.obj.context(), out=out)


@with_globals
def rollback(ctx: typer.Context, algorithm: Algorithm = None) -> int:
    """Let the key sign again that stopped last."""
    from tokenctl.commands.rotate_named import roll_back

    return roll_back(ctx.obj.context(), algorithm=algorithm)


@with_globals
def retire(ctx: typer.Context, kid: Annotated[str, typer.Argument(metavar="KID", help="The key.")]) -> int:
    """Destroy a key that no token needs any more."""
    from tokenctl.commands.rotate_named import retire as act

    return act(ctx.obj.context(), kid)


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True, epilog=EPILOG)
    group.callback()(rotate_keys)
    for name, verb in (("status", status), ("jwks", jwks), ("rollback", rollback), ("retire", retire)):
        group.command(name, epilog=EPILOGS[name])(verb)
    app.add_typer(group, name="rotate-keys")
