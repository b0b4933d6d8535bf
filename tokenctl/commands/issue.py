"""``issue``: make a token and deliver it once; in bulk and for a command, see the modules beside this one."""

from typing import NamedTuple

from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.commands.issue_delivery import deliver_token, delivery_of, json_line
from tokenctl.commands.issue_request import Wish, read_wish
from tokenctl.errors import InvalidRequest
from tokenctl.model.times import HOUR, SECOND, format_clock, format_duration, format_instant
from tokenctl.model.token import IssuedToken, TokenRequest
from tokenctl.render.escape import escape


class Manner(NamedTuple):
    """How the tokens leave, and how many, as it was typed.

    Attributes:
        command: The words behind a literal ``--``; ``None`` where there is none.
        source: Where the rows of a bulk issue are read from.
        exchange, exchange_fd: Where the identity is read from that a service gives the tokens for.
    """

    out: str | None = None
    mode: str | None = None
    group: str | None = None
    fd: int | None = None
    dry_run: bool = False
    number: int | None = None
    source: str | None = None
    command: tuple[str, ...] | None = None
    variable: str | None = None
    child_fd: int | None = None
    masked: bool = True
    exchange: str | None = None
    exchange_fd: int | None = None


def issue(context: Context, wish: Wish, manner: Manner) -> int:
    """Make what is asked for, deliver it, and say what to do with it next.

    Returns:
        0; with ``-- CMD`` the command's status, or minus its signal.

    Raises:
        InvalidRequest: every fault of the request, together (exit 2).
        NotFound, Conflict: what it replaces is unknown, or cannot be replaced (exit 5, 6).
        PolicyDenied: the policy forbids it; the refusal is recorded (exit 12).
        TemporarilyUnavailable: it could not be delivered, so it was revoked (exit 7).
    """
    _check_combination(manner)
    if manner.exchange is not None or manner.exchange_fd is not None:
        from tokenctl.commands.issue_exchange import read_identity

        identity = read_identity(context, manner.exchange, manner.exchange_fd, rows_from=manner.source)
        wish = wish._replace(exchange=identity)
    if wish.replace is not None or wish.grace is not None:
        return _issue_one(context, wish, manner)
    if manner.command is not None:
        from tokenctl.commands.issue_run import issue_for_command

        return issue_for_command(context, wish, manner)
    if manner.number is not None or manner.source is not None:
        from tokenctl.commands.issue_bulk import issue_many

        return issue_many(context, wish, manner)
    return _issue_one(context, wish, manner)


def _issue_one(context: Context, wish: Wish, manner: Manner) -> int:
    with context.backend() as backend:
        request = _request(wish, manner, context, backend)
        if manner.dry_run:
            return preview(context, backend, request)
        delivery = delivery_of(context, out=manner.out, mode=manner.mode, group=manner.group, fd=manner.fd)
        try:
            issued = next(backend.issue([request]))
        except BaseException:
            delivery.discard()
            raise
        deliver_token(context, backend, issued, delivery)
        _tell(context, issued, manner.out, backend)
    return 0


def _request(wish: Wish, manner: Manner, context: Context, backend: Backend) -> TokenRequest:
    if wish.replace is None and wish.grace is None:
        return read_wish(wish, context, backend)
    from tokenctl.commands.issue_replace import read_replacement

    return read_replacement(wish, manner, context, backend)


def _check_combination(manner: Manner) -> None:
    ways = [("--out", manner.out), ("--fd", manner.fd), ("-- CMD", manner.command)]
    given = [name for name, value in ways if value is not None]
    if len(given) > 1:
        raise InvalidRequest(f"{' and '.join(given)} exclude each other")
    if manner.number is not None and manner.source is not None:
        raise InvalidRequest("--count and --from exclude each other")
    if manner.command is not None and (manner.number is not None or manner.source is not None):
        raise InvalidRequest("a command gets one token: --count and --from do not go with -- CMD")
    if (manner.mode is not None or manner.group is not None) and manner.out is None:
        raise InvalidRequest("--mode and --group go with --out")
    if manner.command is None and (manner.variable is not None or manner.child_fd is not None or not manner.masked):
        raise InvalidRequest("--env, --child-fd and --no-mask go with -- CMD")


def _tell(context: Context, issued: IssuedToken, out: str | None, backend: Backend) -> None:
    console, token = context.console, issued.token
    if out is not None:
        if console.machine:
            console.answer_bytes(json_line(context, issued, out))
        else:
            console.answer(token.id)
    clock = format_clock(token.expires_at, context.now)
    if token.expires_at - context.now >= 12 * HOUR:
        clock = f"{clock[:16]}Z"
    until = f"until {clock} ({format_duration(token.expires_at - token.issued_at)})"
    scope = f", scope {' '.join(token.scope)}" if token.scope else ", no scope: it grants nothing"
    console.chat(f"issued  {token.id}  {token.kind}, {token.format}, {until}")
    console.chat(f"for     {escape(token.subject)}{scope}, profile {backend.name}")
    if token.replaces is not None:
        from tokenctl.commands.issue_replace import tell_of_predecessor

        tell_of_predecessor(context, backend, token.replaces)
    named = token.id if backend.by_id else "- < FILE"
    console.chat(f"look    {console.command} inspect {named}")
    console.chat(f"kill    {console.command} revoke {named}")


def preview(context: Context, backend: Backend, request: TokenRequest) -> int:
    """Say what would be issued, and who decides; nothing is made and nothing recorded."""
    judgement, request = backend.judge(request)
    judgement.require()
    decision, console = judgement.decision, context.console
    lifetime = format_duration(decision.lifetime)
    grace = None if request.grace is None else format_duration(request.grace)
    rules = [verdict.rule for verdict in decision.verdicts if verdict.rule]
    if console.machine:
        console.document(
            {"dry_run": True, "allowed": True, "subject": request.subject, "owner": request.owner, "kind": request.kind,
             "format": request.format, "scope": sorted(request.scope), "audience": sorted(request.audience),
             "lifetime": lifetime, "expires_at": format_instant(judgement.expires_at), "parent": request.parent,
             "rules": rules, "policy": backend.policy.hash,
             "limits": [{"rule": limit.rule, "living": living, "most": limit.most} for limit, living in judgement.living],
             "lifetime_seconds": decision.lifetime // SECOND, "replaces": request.replaces, "grace": grace,
             "warnings": list(console.warnings)}
        )  # fmt: skip
        return 0
    console.answer(f"would issue  {request.kind}, {request.format}, {lifetime}, for {escape(request.subject)}")
    if request.replaces is not None:
        children = backend.directory.kin([request.replaces])
        along = f"; {children} child{'ren' * (children != 1)} will die with it" if children else ""
        old = backend.directory.get(request.replaces)
        over = ends = context.now + (request.grace or 0)
        if old is not None:
            ends = min(ends, old.token.ends_at)
        bound = ", when it expires" if ends < over else ""
        left = (
            "ends with the delivery" if not request.grace else f"goes on for {format_duration(ends - context.now)} at most{bound}"
        )
        console.answer(f"replaces     {request.replaces}, which {left}{along}")
    for rule in rules:
        console.answer(f"decided by   {rule}")
    for limit, living in judgement.living:
        console.answer(f"limit        {escape(request.owner)} has {living} of {limit.most} ({limit.rule})")
    if request.parent is not None:
        console.answer(f"parent       {request.parent} has all of it and lives as long")
    return 0
