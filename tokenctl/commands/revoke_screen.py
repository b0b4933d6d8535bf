"""How ``revoke`` looks: the preview before the question, and one line or object for every target."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tokenctl.backends.local.authority import LocalAuthority
from tokenctl.commands.context import Context
from tokenctl.commands.inspect_screen import other_profiles
from tokenctl.model.introspection import Found
from tokenctl.model.times import format_duration, format_instant
from tokenctl.model.token import Outcome, Reason, Target
from tokenctl.render.escape import cut, escape
from tokenctl.render.machine import outcome_object

if TYPE_CHECKING:
    from tokenctl.commands.revoke import Gathered, Order

_SHOWN = 20  # targets of a preview


def foreseen(target: Target, found: Found | None) -> Outcome:
    """Return what would become of a target; ``denied`` stands for what a real run would report as done."""
    if found is None:
        return Outcome(id=target.id, outcome="unknown")
    token, state = found.token, found.standing.state
    before = state == "revoked"
    return Outcome(
        id=token.id, outcome="already_revoked" if before else "revoked", state_before=state,
        at=token.revoked_at, by=token.revoked_by, reason=token.reason, children=found.children,
        offline_until=token.expires_at if token.format == "jwt" else None,
    )  # fmt: skip


def preview(
    context: Context, backend: LocalAuthority, found: list[tuple[Target, Found | None]], gathered: Gathered, order: Order
) -> None:
    """Say on stderr what would be revoked, before the question."""
    console, now = context.console, context.now
    if not console.chatty:
        return
    console.chat(f"profile {backend.name} ({backend.place})")
    console.chat(f"revoke, reason {order.reason or 'other'}:")
    for target, entry in found[:_SHOWN]:
        if entry is None:
            console.chat(f"{target.id}  unknown here")
            continue
        token, state = entry.token, entry.standing.state
        left = f", {format_duration(token.expires_at - now).split()[0]}" if token.expires_at > now and state != "revoked" else ""
        used = "never used" if token.last_used_at is None else f"used {format_duration(now - token.last_used_at)} ago"
        console.chat(f"{token.id}  {state + left:<16}  {cut(escape(token.subject), 24):<24}  {used}")
    if len(found) > _SHOWN:
        console.chat(f"and {len(found) - _SHOWN} more")
    living = [entry for _, entry in found if entry is not None and entry.standing.state != "revoked"]
    children = sum(entry.children for entry in living)
    told = f"{len(found)} named, {len(living)} to revoke"
    if children:
        told += f"; {children} {'child dies' if children == 1 else 'children die'} with {'it' if len(living) == 1 else 'them'}"
    if gathered.named_only:
        told += f"; {len(gathered.named_only)} only mentioned, left alone"
    console.chat(told)


def show(context: Context, outcomes: list[Outcome], gathered: Gathered, reason: Reason, *, dry_run: bool) -> None:
    """Print what became of every target."""
    console = context.console
    mentioned = [
        Outcome(id=identifier, outcome="named_only", detail="mentioned, not proved: left alone")
        for identifier in gathered.named_only
    ]
    everything = outcomes + mentioned
    counts = Counter(outcome.outcome for outcome in everything)
    if console.output == "jsonl":
        for outcome in everything:
            console.document(outcome_object(outcome) | {"dry_run": dry_run, "request_id": reason.request_id})
        return
    if console.output == "json":
        console.document(
            {"action": "revoke", "profile": console.profile, "request_id": reason.request_id, "dry_run": dry_run,
             "counts": dict(counts), "foreign": dict(gathered.foreign),
             "targets": [outcome_object(outcome) for outcome in everything], "warnings": list(console.warnings)}
        )  # fmt: skip
        return
    others = other_profiles(context) if counts["unknown"] else None
    for outcome in everything:
        (console.answer if dry_run else console.result)(_line(context, outcome, dry_run=dry_run, others=others))
    _summary(context, counts, gathered, reason, dry_run=dry_run)


def _line(context: Context, outcome: Outcome, *, dry_run: bool, others: str | None) -> str:
    told = _told(context, outcome, dry_run=dry_run, others=others)
    if context.console.on_terminal:
        return f"{outcome.id}  {outcome.outcome:<15}  {told}"
    return f"{outcome.id}\t{outcome.outcome}\t{told}"


def _told(context: Context, outcome: Outcome, *, dry_run: bool, others: str | None) -> str:
    if outcome.outcome == "unknown":
        return f"not in {context.console.profile}" + (f"; {others}" if others else "")
    if outcome.outcome == "already_revoked":
        facts = [format_instant(outcome.at) if outcome.at is not None else "before"]
        facts += [f"by {escape(outcome.by)}"] if outcome.by else []
        facts += [escape(told) for told in (outcome.reason, outcome.detail) if told]
        return _with_offline(outcome, ", ".join(facts))
    if outcome.outcome == "revoked":
        verb = "is" if dry_run else "was"
        told = f"{verb} {outcome.state_before}"
        if outcome.children:
            told += f"; {outcome.children} {'child' if outcome.children == 1 else 'children'} with it"
        if outcome.checked_ms is not None:
            told += f"; denied, checked after {outcome.checked_ms} ms"
        if outcome.detail:
            told += f"; {escape(outcome.detail)}"
        return _with_offline(outcome, told)
    return escape(outcome.detail or "-")


def _with_offline(outcome: Outcome, told: str) -> str:
    if outcome.offline_until is None:
        return told
    return f"{told}; verifiers that do not ask may accept it until {format_instant(outcome.offline_until)}"


def _summary(context: Context, counts: Counter[str], gathered: Gathered, reason: Reason, *, dry_run: bool) -> None:
    console = context.console
    denied = counts["revoked"] + counts["already_revoked"]
    parts = (
        []
        if not denied
        else [f"{denied} {'to deny' if dry_run else 'denied'} ({counts['revoked']} now, {counts['already_revoked']} before)"]
    )
    parts += [
        f"{counts[name]} {name.replace('_', ' ')}"
        for name in ("unknown", "named_only", "unreachable", "still_active")
        if counts[name]
    ]
    if gathered.foreign:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(gathered.foreign.items()))
        parts.append(f"secrets of others, left alone: {kinds}")
    if not sum(counts.values()):
        parts.append("nothing to revoke was found")
    tail = "" if dry_run else f"; request {reason.request_id}"
    line = ", ".join(parts) + tail
    if not denied and not console.quiet:
        console.complain(line)
    else:
        console.chat(line)
    if denied and not dry_run:
        console.chat(f"next: {console.program} audit log --request-id {reason.request_id}")
