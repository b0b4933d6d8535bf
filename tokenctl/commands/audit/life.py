"""How the life of a token or a key looks: a few lines for a person, an object for machines."""

from __future__ import annotations

from collections.abc import Sequence

from tokenctl.backends.local.telling import Life, Suspension
from tokenctl.commands.audit.screen import actor_in_words, facts_of, moment, text, told_moment
from tokenctl.commands.context import Context
from tokenctl.model.introspection import Found
from tokenctl.model.record import Record
from tokenctl.model.times import format_distance, format_duration
from tokenctl.model.token import Key, Token
from tokenctl.render.escape import cell, escape
from tokenctl.render.machine import instant, token_object

_KEY_TIMES = ("created_at", "published_at", "activated_at", "retiring_at", "retired_at", "compromised_at")


def token_members(context: Context, life: Life, now: int) -> dict[str, object] | None:
    """Return the token object with its kin, its uses and its suspensions; ``None`` for a key."""
    if life.found is None:
        return None
    found = life.found
    uses = life.uses
    members = token_object(
        found.token, found.standing, profile=context.console.profile or "", now=now, children=found.children
    )  # fmt: skip
    return members | {
        "issued_by": found.token.issued_by, "row_intact": life.intact, "child_ids": list(life.children),
        "direct_children": life.children_total, "living_children": life.children_living,
        "successor_ids": list(life.successors),
        "recorded_uses": {
            "count": len(uses), "first": instant(uses[0].time if uses else None),
            "last": instant(uses[-1].time if uses else None),
        },
        "suspensions": [_suspension_members(each) for each in life.suspensions],
    }  # fmt: skip


def _suspension_members(suspension: Suspension) -> dict[str, object]:
    facts, lifted = facts_of(suspension.began), suspension.lifted
    return {
        "at": instant(suspension.began.time), "by": suspension.began.actor, "reason": facts.get("reason"),
        "ticket": facts.get("ticket"), "lifted_at": instant(lifted.time if lifted else None),
        "lifted_by": lifted.actor if lifted else None,
    }  # fmt: skip


def key_members(life: Life) -> dict[str, object] | None:
    """Return what is known of a key; ``None`` for a token."""
    if life.key is None:
        return None
    key, made = life.key, life.first("key.create")
    times = {name: instant(getattr(key, name)) for name in _KEY_TIMES}
    return {
        "kid": key.kid, "alg": key.alg, "state": key.state, **times, "created_by": made.actor if made else None,
        "row_intact": life.intact, "tokens": life.tokens[0], "living_tokens": life.tokens[1],
        "needed_until": instant(life.needed_until),
    }  # fmt: skip


def print_life(context: Context, life: Life, now: int) -> None:
    """Tell a life at a terminal; nothing where the id is neither a token's nor a key's."""
    lines: list[tuple[str, str]] = []
    head = None
    if life.found is not None:
        head = f"token {life.found.token.id}: {_standing(life.found, now)}"
        lines = [*_made(life, life.found.token, now), *_later(life, life.found.token, now)]
    elif life.key is not None:
        head = f"key {life.key.kid}: {life.key.alg}, {life.key.state}"
        lines = list(_key_lines(life, life.key, now))
    if head is None:
        return
    console = context.console
    console.answer(console.paint(head, "bold"))
    for label, what in lines:
        console.answer(console.fold(f"  {label:<9} ", what))
    console.answer("")


def _standing(found: Found, now: int) -> str:
    token, standing = found.token, found.standing
    if standing.active:
        return f"active, {format_duration(token.ends_at - now)} left"
    own = {"revoked": token.revoked_at, "expired": token.expires_at, "suspended": token.suspended_at}.get(standing.state)
    since = own if standing.since is None else standing.since
    told = standing.state if since is None or since > now else f"{standing.state} {format_distance(since, now)}"
    why = (token.reason, token.ticket) if standing.state == "revoked" and standing.cause is None else (standing.cause,)
    if standing.state == "suspended" and token.suspended_until is not None:
        told += f" until {told_moment(token.suspended_until, now)}, then {token.suspended_then}"
    reasons = ", ".join(escape(part) for part in why if part)
    return f"{told} ({reasons})" if reasons else told


def _made(life: Life, token: Token, now: int) -> list[tuple[str, str]]:
    issued = life.first("token.issue")
    who = actor_in_words(facts_of(issued).get("actor")) if issued is not None else token.issued_by
    lines = [
        ("made", f"{told_moment(token.issued_at, now)} by {escape(who)}"),
        (
            "rights",
            f"{token.kind}, {token.format}; scope {cell(' '.join(token.scope))}; audience {cell(' '.join(token.audience))}",
        ),
        ("subject", f"{cell(token.subject)}; owner {cell(token.owner)}"),
        ("expires", told_moment(token.expires_at, now)),
    ]
    if token.note:
        lines.append(("note", escape(token.note)))
    if token.labels:
        lines.append(("labels", escape(" ".join(f"{name}={value}" for name, value in token.labels))))
    if token.kid is not None:
        lines.append(("key", token.kid))
    if token.parent is not None:
        lines.append(("parent", token.parent))
    return lines


def _later(life: Life, token: Token, now: int) -> list[tuple[str, str]]:
    lines = [("used", _used(life, token, now))]
    if token.replaces is not None:
        lines.append(("replaces", token.replaces))
    others = [identifier for identifier in life.successors if identifier != token.replaced_by]
    if token.replaced_by is not None:
        until = f", until {told_moment(token.grace_until, now)}" if token.grace_until is not None else ""
        lines.append(("replaced", f"by {token.replaced_by}{until}"))
    if others:
        lines.append(("successor", f"never took its place: {' '.join(others)}"))
    if life.children_total:
        living = "" if life.children_living is None else f", {life.children_living:,} living"
        more = " …" if life.children_total > len(life.children) else ""
        lines.append(("children", f"{life.children_total:,}{living}: {' '.join(life.children)}{more}"))
    for suspension in life.suspensions:
        lines.append(("suspended", _by(suspension.began, now)))
        if suspension.lifted is not None:
            lines.append(("lifted", _by(suspension.lifted, now)))
    revoked = life.first("token.revoke")
    if revoked is not None:
        lines.append(("revoked", _by(revoked, now)))
    if token.revoked_note:
        lines.append(("because", escape(token.revoked_note)))
    return lines


def _used(life: Life, token: Token, now: int) -> str:
    if token.format == "jwt" and token.last_used_at is None:
        return "not tracked: a JWT is checked elsewhere"
    count = f"uses {token.uses:,}" + (f" of {token.max_uses:,}" if token.max_uses is not None else "")
    if token.last_used_at is None:
        return f"never seen by this store; {count}"
    first = f"first {moment(life.uses[0].time)}; " if life.uses else ""
    return f"{count}; {first}last {told_moment(token.last_used_at, now)}"


def _by(record: Record, now: int) -> str:
    facts = facts_of(record)
    why = ", ".join(part for part in (text(facts.get("reason")), text(facts.get("ticket"))) if part)
    return f"{told_moment(record.time, now)} by {escape(actor_in_words(facts.get('actor')))}{f'; {escape(why)}' if why else ''}"


def _key_lines(life: Life, key: Key, now: int) -> Sequence[tuple[str, str]]:
    made = life.first("key.create")
    lines = [("made", f"{told_moment(key.created_at, now)}{f' by {escape(_actor(made))}' if made is not None else ''}")]
    for name in _KEY_TIMES[1:]:
        value = getattr(key, name)
        if value is not None:
            lines.append((name.removesuffix("_at"), told_moment(value, now)))
    lines.append(("tokens", f"{life.tokens[0]:,} signed, {life.tokens[1]:,} living"))
    if life.needed_until is not None:
        lines.append(("needed", f"until {told_moment(life.needed_until, now)}"))
    elif key.state == "compromised":
        lines.append(("needed", "by nothing: every token that it signed is denied"))
    else:
        lines.append(("needed", "by no living token"))
    return lines


def _actor(record: Record) -> str:
    return actor_in_words(facts_of(record).get("actor"))
