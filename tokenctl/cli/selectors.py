"""The selectors that ``list``, ``revoke`` and ``audit log`` share."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

_Texts = list[str] | None
_OPTIONS: dict[str, tuple[Any, str, str]] = {
    "subject": (_Texts, "S", "By subject; * is any text."),
    "owner": (_Texts, "O", "By owner; * is any text."),
    "scope": (_Texts, "SC", "By scope."),
    "audience": (_Texts, "A", "By audience; * is any text."),
    "kind": (_Texts, "K", "access, personal or service."),
    "format": (_Texts, "F", "opaque or jwt."),
    "kid": (_Texts, "KID", "By signing key."),
    "label": (_Texts, "K[=V]", "By label; * is any text."),
    "parent": (_Texts, "ID", "Children of a token."),
    "batch": (_Texts, "R", "By request id."),
    "issued_after": (str | None, "T", "Issued at or after."),
    "issued_before": (str | None, "T", "Issued before."),
    "expires_after": (str | None, "T", "Expires at or after."),
    "expires_before": (str | None, "T", "Expires before."),
    "unused_for": (str | None, "D", "Not used for so long."),
    "never_used": (bool, "", "Never used."),
    "include_untracked": (bool, "", "With tokens whose use is not seen here."),
    "state": (_Texts, "S", "By state, or all; default the living ones."),
}


def with_selectors(function: Callable[..., int], *, state: str = _OPTIONS["state"][2]) -> Callable[..., int]:
    """Add the selectors to a declaration; the function gets them as one ``selectors``.

    Args:
        state: The help of ``--state``, whose default the verb decides.
    """
    signature = inspect.signature(function)

    def verb(**values: Any) -> int:
        from tokenctl.commands.selection import Typed

        typed = {name: values.pop(name) for name in _OPTIONS}
        plain: dict[str, Any] = {
            name: tuple(value or ()) if _OPTIONS[name][0] is _Texts else value for name, value in typed.items()
        }
        return function(**values, selectors=Typed(**plain))

    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if kind is bool else None,
            annotation=Annotated[kind, typer.Option(f"--{name.replace('_', '-')}", metavar=metavar or None, help=text)],
        )
        for name, (kind, metavar, text) in (_OPTIONS | {"state": (*_OPTIONS["state"][:2], state)}).items()
    ]  # fmt: skip
    kept = [parameter for parameter in signature.parameters.values() if parameter.name != "selectors"]
    kept = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in kept]
    verb.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    verb.__name__, verb.__doc__ = function.__name__, function.__doc__
    return verb
