"""What ``rotate-keys status`` prints: every key, its next step, and what verifiers have."""

from __future__ import annotations

from collections.abc import Sequence

from tokenctl.backends.parts import SigningKeys
from tokenctl.commands import rotate_screen as screen
from tokenctl.commands.context import Context
from tokenctl.model.rotation import Outlook, Step
from tokenctl.model.times import SECOND, format_duration, parse_instant
from tokenctl.render.escape import escape
from tokenctl.workflows.rotation import Asked

_HEADS = ("KID", "ALG", "STATE", "SINCE", "TOKENS", "NEXT")
_COUNTED = 4  # the column whose numbers stand below each other


def tell(context: Context, keys: SigningKeys, outlook: Outlook, told: screen.Told, *, kept: int) -> None:
    """Print every key, and on a terminal what comes next and what verifiers have.

    Args:
        kept: How many stores from before a restore lie beside the present one.
    """
    console = context.console
    if console.output == "json":
        screen.document(context, keys, outlook, told)
        return
    objects = screen.key_objects(keys, outlook.now)
    steps = [next_of(members, outlook) for members in objects]
    if console.output == "jsonl":
        for members, step in zip(objects, steps, strict=True):
            console.document(_line_object(members, step, outlook.now, told))
    elif console.on_terminal and objects:
        _table(context, objects, steps, outlook.now)
        _tell_more(context, objects, outlook, told.verifiers, kept)
    else:
        for members, step in zip(objects, steps, strict=True):
            following = "-" if step is None else f"{step.action} {screen.second(step.at, outlook.now)}"
            names = ("kid", "alg", "state", "since", "tokens")
            console.answer("\t".join([*("-" if members[name] is None else str(members[name]) for name in names), following]))
        for asked in told.verifiers:
            if not asked.holds:
                console.warn(_of_verifier(asked, objects, outlook.now))
    if not objects:
        console.chat("no signing key yet: the first JWT makes it", folded=True)


def next_of(members: dict[str, object], outlook: Outlook) -> Step | None:
    """Return the next step of one key: an active one stops when its successor is activated, or waits for one."""
    own = next((step for step in outlook.steps if step.kid == members["kid"]), None)
    if own is not None or members["state"] != "active":
        return own
    following = [step for step in outlook.steps if step.alg == members["alg"] and step.action in ("publish", "activate")]
    step = next((step for step in following if step.kid is None or step.action == "activate"), None)
    return step._replace(action="retiring", kid=str(members["kid"])) if step is not None and step.action == "activate" else step


def _line_object(members: dict[str, object], step: Step | None, now: int, told: screen.Told) -> dict[str, object]:
    """Return a key for a machine that reads line by line: with what a document tells beside the keys."""
    return members | {
        "next": None if step is None else screen.step_object(step, now),
        "blocked_by": [screen.blocked_object(asked) for asked in screen.blocking(step, told.blocked_by)],
        "verifiers": [screen.asked_object(asked) for asked in told.verifiers if asked.kid == members["kid"]],
    }


def _table(context: Context, objects: Sequence[dict[str, object]], steps: Sequence[Step | None], now: int) -> None:
    """Print the keys in columns as wide as what stands in them: they fit 80."""
    rows = [_HEADS, *(_row(members, step, now) for members, step in zip(objects, steps, strict=True))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS) - 1)]
    for number, row in enumerate(rows):
        shown = [row[at].rjust(width) if at == _COUNTED else row[at].ljust(width) for at, width in enumerate(widths)]
        line = "  ".join([*shown, row[-1]])
        context.console.answer(line if number else context.console.paint(line, "bold"))


def _row(members: dict[str, object], step: Step | None, now: int) -> tuple[str, ...]:
    since = "-"
    if isinstance(members["since"], str):
        since = f"{format_duration(now - parse_instant(members['since'], now)).split()[0]} ago"
    tokens, following = "-" if members["tokens"] is None else f"{members['tokens']:,}", "-"
    if step is not None:
        following = f"{step.action} {'due' if step.at <= now else f'in {format_duration(step.at - now).split()[0]}'}"
    return (str(members["kid"]), str(members["alg"]), str(members["state"]), since, tokens, following)


def _tell_more(
    context: Context, objects: Sequence[dict[str, object]], outlook: Outlook, verifiers: Sequence[Asked], kept: int
) -> None:  # fmt: skip
    console = context.console
    console.answer(console.fold("", escape(screen.next_line(outlook))))
    for asked in verifiers:
        console.answer(console.fold("verifier: ", escape(_of_verifier(asked, objects, outlook.now))))
    if any(members["state"] in ("retired", "compromised") for members in objects):
        told = "private parts of retired keys are destroyed here; backups made before still hold them until they age out"
        if kept:
            told += f", and so do {kept} stores" if kept > 1 else ", and so does 1 store"
            told += " kept from before a restore: " + f"{console.command} doctor"
        console.answer(console.fold("", told))


def _of_verifier(asked: Asked, objects: Sequence[dict[str, object]], now: int) -> str:
    """Say what a verifier has of a key."""
    state = next((f"{members['state']} " for members in objects if members["kid"] == asked.kid), "")
    parts = [f"{state}{asked.alg} {asked.kid}"]
    if asked.asked_at is not None and now - asked.asked_at > SECOND:
        parts.append(f"asked {screen.moment(asked.asked_at, now)}")
    if asked.cached_until is not None:
        parts.append(f"cached until {screen.moment(asked.cached_until, now)}")
    return f"{asked.told} ({'; '.join(parts)})"
