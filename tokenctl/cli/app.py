"""The grammar as a whole: which verbs there are, and only the one that is meant is built."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tokenctl.cli.options import GLOBAL_OPTIONS, with_globals

VERBS = {
    "issue": "issue", "inspect": "inspect", "list": "list", "revoke": "revoke", "rotate-keys": "rotate_keys", "audit": "audit",
    "login": "login", "logout": "login", "whoami": "login", "profile": "profile", "store": "store", "doctor": "doctor",
    "completion": "completion",
}  # fmt: skip
# What other tools call it.
FOREIGN_VERBS = {
    "create": "issue", "new": "issue", "lookup": "inspect", "show": "inspect", "verify": "inspect", "introspect": "inspect",
    "delete": "revoke", "rm": "revoke", "lock": "revoke --suspend",
    "rotate": "rotate-keys (signing keys) or tokenctl issue --replace ID (a token)",
    "ls": "list", "logs": "audit log",
    "renew": "issue --replace",
}  # fmt: skip
# Typer keeps the first name of an option where a default stands too.
_TAKES_VALUE = frozenset(
    flag for kind, option in GLOBAL_OPTIONS.values() if kind is not bool for flag in (option.default, *option.param_decls)
)  # fmt: skip


@with_globals
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("-V", "--version", help="Print the version.")] = False,
) -> int:
    """Issue, inspect, revoke, rotate and account for API tokens."""
    return 0


def verb_of(arguments: list[str]) -> str | None:
    """Return the first argument that is no global option: the verb, if it is one."""
    rest = iter(arguments)
    for argument in rest:
        if argument in _TAKES_VALUE:
            next(rest, None)
        elif not argument.startswith("-") or argument == "-":
            return argument
    return None


class _InOrder(TyperGroup):
    """Lists the verbs as they stand in ``VERBS``, whether they have sub-verbs or not."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [verb for verb in VERBS if verb in self.commands]


def build(arguments: list[str]) -> typer.Typer:
    """Build the grammar of the verb that is meant; without one, of all."""
    app = typer.Typer(
        cls=_InOrder, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    app.callback()(_root)
    verb = verb_of(arguments)
    for name in dict.fromkeys([VERBS[str(verb)]] if verb in VERBS else VERBS.values()):
        module: Any = import_module(f"tokenctl.cli.{name}")
        module.register(app)
    return app
