"""How ``revoke`` looks: the preview before the question, and one line or object for every target."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial

from tokenctl import terminal
from tokenctl.backends.base import Backend
from tokenctl.commands.context import Context
from tokenctl.commands.inspect_screen import other_profiles
from tokenctl.commands.revoke_targets import Gathered
from tokenctl.errors import NotFound, Partial, TemporarilyUnavailable, TokenNotActive
from tokenctl.model.introspection import Found
from tokenctl.model.times import HOUR, format_duration, format_instant
from tokenctl.model.token import Action, Outcome
from tokenctl.render.escape import cell, cut, escape, pad
from tokenctl.render.machine import outcome_object
from tokenctl.render.progress import Progress

DONE = {"revoke": "revoked", "suspend": "suspended", "lift": "lifted"}
_DENIED = frozenset({"revoked", "already_revoked", "denied", "suspended"})
_SHOWN = 20  # targets of a preview
_WIDEST_SUBJECT = 24  # columns
_MOST_COLUMNS_OF_USE = 19
PATIENCE = 2.0  # seconds for a reader that stands still, after an interruption


# Before


def foreseen(action: Action, identifier: str, found: Found | None, *, elsewhere: bool = False) -> Outcome:
    """Return what would become of a target, in the words of a real run.

    Args:
        elsewhere: Whether the token proved itself without a row here.
    """
    if found is None and elsewhere:
        return Outcome(id=identifier, outcome=DONE[action.verb], detail="not issued through this profile")
    if found is None:
        return Outcome(id=identifier, outcome="unknown")
    token, state = found.token, found.standing.state
    if action.changes(found.standing):
        outcome = DONE[action.verb]
    elif state == "revoked":
        outcome = "already_revoked"
    elif state in ("expired", "suspended"):
        outcome = "denied"
    else:
        outcome = "lifted"
    return Outcome(
        id=token.id, outcome=outcome, state_before=state,
        at=token.revoked_at, by=token.revoked_by, reason=token.reason,
        children=found.children if outcome in DONE.values() and action.verb != "lift" and not action.keep_children else 0,
        offline_until=token.expires_at if token.format == "jwt" else None, detail=found.standing.cause,
    )  # fmt: skip


def question(action: Action, count: int, place: str) -> str:
    """Return what is asked before anything is done."""
    tokens = f"{count:,} token{'s' * (count != 1)} at {place}"
    if action.verb == "lift":
        return f"Lift the suspension of {tokens}?"
    if action.verb == "suspend":
        end = "" if action.duration is None else f" for {format_duration(action.duration)}, then {action.then} "
        return f"Suspend {tokens}{end.rstrip()}?"
    return f"Revoke {tokens}?"


def preview(context: Context, backend: Backend, action: Action, gathered: Gathered, changing: list[str]) -> None:
    """Say on stderr what would be done, before the question."""
    console = context.console
    if not console.chatty:
        return
    place, order = f"profile {backend.name} ({backend.place})", _order(action)
    for line in [f"{place}: {order}"] if len(place) + len(order) + 2 <= terminal.width() else [place, f"{order}:"]:
        console.chat(line)
    named = list(gathered.targets)
    for identifier, found in backend.directory.look_up(named[:_SHOWN]):
        console.chat(_preview_line(context, backend, identifier, found))
    if len(named) > _SHOWN:
        console.chat(f"and {len(named) - _SHOWN:,} more")
    told = f"{len(named):,} named, {len(changing):,} to {action.verb}"
    children = backend.directory.kin(changing) if action.verb != "lift" else 0
    if children:
        told += f"; {_children(action, children, alone=len(changing) == 1)}"
    if gathered.named_only:
        told += f"; {len(gathered.named_only):,} only mentioned, left alone"
    console.chat(told)


def _order(action: Action) -> str:
    told = action.verb if action.verb != "suspend" else "suspend until lifted"
    if action.duration is not None:
        told = f"suspend for {format_duration(action.duration)}, then {action.then}"
    if action.keep_children:
        told += ", children kept"
    return f"{told}, reason {action.reason.reason}"


def _preview_line(context: Context, backend: Backend, identifier: str, found: Found | None) -> str:
    if found is None:
        return f"{identifier}  {'unknown here' if backend.kind == 'local' else 'no row here: the service is asked'}"
    token, state, now = found.token, found.standing.state, context.now
    if state == "revoked":
        state = "revoked before"
        by = cell(token.revoked_by).rpartition("@")[0] or cell(token.revoked_by)
        use = f"by {by}, {_short(token.revoked_at, now)}" if token.revoked_at else "-"
    else:
        state += f", {format_duration(token.ends_at - now).split()[0]}" if token.ends_at > now else ""
        used = token.last_used_at
        use = "never used" if used is None else f"used {format_duration(now - used).split()[0]} ago"
        if token.format == "jwt" and token.expires_at > now:  # where it is checked elsewhere, no use is seen
            use = f"offline until {_short(token.expires_at, now)}"
    room = terminal.width() - len(identifier) - 16 - 6
    subject = max(10, min(_WIDEST_SUBJECT, room - _MOST_COLUMNS_OF_USE))
    whom = pad(cut(escape(token.subject), subject), subject)
    return f"{identifier}  {state:<16}  {whom}  {cut(use, max(room - subject, 10))}"


def _short(instant: int, now: int) -> str:
    """Write the time alone where it is within twelve hours, else the day."""
    text = format_instant(instant)
    return text[11:16] if abs(instant - now) < 12 * HOUR else text[5:10]


def _children(action: Action, count: int, *, alone: bool) -> str:
    children, them = f"{count:,} {'child' if count == 1 else 'children'}", "it" if alone else "them"
    if action.keep_children:
        return f"{children} kept"
    if action.verb == "suspend":
        return f"{children} suspended with {them}"
    return f"{children} {'dies' if count == 1 else 'die'} with {them}"


# During and after


class Report:
    """Tells each outcome as it comes, and what they come to.

    What is done does not depend on who listens: in a real run the console holds what no reader takes, and a failure to print
    is raised at the end.
    """

    def __init__(
        self, context: Context, action: Action, gathered: Gathered, *, dry_run: bool, progress: Progress | None = None,
        ignore_not_found: bool = False,
    ) -> None:  # fmt: skip
        self.counts: Counter[str] = Counter()
        self.failures: Counter[int | None] = Counter()
        self._context = context
        self._console = context.console
        self._action = action
        self._gathered = gathered
        self._dry_run = dry_run
        self._ignore_not_found = ignore_not_found
        self._progress = progress
        self._others: str | None = None
        self._objects: list[str] = []
        self._deaf: BrokenPipeError | TemporarilyUnavailable | None = None

    def tell(self, outcome: Outcome, *, quietly: bool = False) -> None:
        """Print an outcome, or keep it for the document; ``quietly`` leaves it out of what people read."""
        self.counts[outcome.outcome] += 1
        self.failures[outcome.failure if outcome.outcome == "unreachable" else None] += outcome.outcome != "named_only"
        console = self._console
        if outcome.detail is not None:
            outcome = outcome._replace(detail=console.advice(outcome.detail))
        if console.output == "json":
            self._objects.append(json.dumps(outcome_object(outcome)))  # a quarter of what the object takes
        elif console.output == "jsonl":
            members = {"dry_run": self._dry_run, "request_id": self._action.reason.request_id}
            self._print(partial(console.document, outcome_object(outcome) | members))
        elif quietly:
            return
        elif self._dry_run or not console.quiet:
            self._print(partial(console.answer, self._line(outcome)))
        elif outcome.outcome != "named_only" and not self._succeeded(outcome.outcome):
            if outcome.outcome == "unknown" and self._ignore_not_found:
                return
            console.complain(f"not {'lifted' if self._action.verb == 'lift' else 'denied'}: {outcome.id} {outcome.outcome}")

    def interrupted(self, total: int) -> None:
        """Say what was done and what was not, before the signal takes its way."""
        left = self.counts["unreachable"]
        self._console.complain(
            f"interrupted: {total - left:,} of {total:,} done, {left:,} not done; the same command again finishes them"
        )
        self._deaf = None
        self.conclude(Partial.exit_code, patience=PATIENCE)

    def conclude(self, code: int, *, patience: float | None = None) -> None:
        """Tell what all outcomes come to, and what exit code, to whoever reads on within ``patience`` seconds.

        Raises:
            BrokenPipeError: nobody read the answer.
            TemporarilyUnavailable: the answer could not be printed (exit 7).
        """
        for identifier in self._gathered.named_only:
            self.tell(Outcome(id=identifier, outcome="named_only", detail="mentioned, not proved: left alone"))
        console, action = self._console, self._action
        if console.output == "json":
            members = {
                "action": action.verb, "profile": console.profile, "request_id": action.reason.request_id,
                "dry_run": self._dry_run, "counts": dict(self.counts), "foreign": dict(self._gathered.foreign),
                "warnings": list(console.warnings),
            }  # fmt: skip
            console.answer(f'{json.dumps(members)[:-1]}, "targets": [{", ".join(self._objects)}]}}')
        elif console.output != "jsonl":
            self._summary(code)
        console.let_go(patience)
        if self._deaf is not None:
            raise self._deaf

    def _print(self, write: Callable[[], None]) -> None:
        if self._deaf is not None:
            return
        try:
            if self._progress is None:
                write()
            else:
                with self._progress.aside():
                    write()
        except (BrokenPipeError, TemporarilyUnavailable) as error:
            self._deaf = error

    def _succeeded(self, outcome: str) -> bool:
        return outcome == "lifted" if self._action.verb == "lift" else outcome in _DENIED

    def _line(self, outcome: Outcome) -> str:
        told = self._told(outcome)
        name = f"would be {outcome.outcome}" if self._dry_run and outcome.outcome in DONE.values() else outcome.outcome
        if self._console.on_terminal:
            return self._console.fold(f"{outcome.id}  {name:<{18 if self._dry_run else 15}}  ", told)
        return f"{outcome.id}\t{name}\t{told}"

    def _told(self, outcome: Outcome) -> str:
        if outcome.outcome == "unknown":
            if self._others is None:
                self._others = other_profiles(self._context) or ""
            return f"not in {self._console.profile}" + (f"; {self._others}" if self._others else "")
        if outcome.outcome == "already_revoked":
            facts = [format_instant(outcome.at) if outcome.at is not None else "before"]
            facts += [f"by {escape(outcome.by)}"] if outcome.by else []
            facts += [escape(told) for told in (outcome.reason, outcome.detail) if told]
            return _with_offline(outcome, ", ".join(facts))
        if outcome.outcome in ("revoked", "suspended", "lifted") and outcome.state_before is not None:
            return _with_offline(outcome, "; ".join(self._facts(outcome)))
        return _with_offline(outcome, escape(outcome.detail or "-"))

    def _facts(self, outcome: Outcome) -> list[str]:
        facts = [f"{'is' if self._dry_run else 'was'} {outcome.state_before}"]
        if outcome.children:
            facts.append(f"{outcome.children:,} {'child' if outcome.children == 1 else 'children'} with it")
        if outcome.checked_ms is not None:
            denied = "" if outcome.outcome == "lifted" else "denied, "
            facts.append(f"{denied}checked after {outcome.checked_ms} ms")
        if outcome.detail:
            facts.append(escape(outcome.detail))
        return facts

    def _summary(self, code: int) -> None:
        console, counts, verb = self._console, self.counts, self._action.verb
        if verb == "lift":
            done = counts["lifted"]
            parts = [f"{done:,} {'to lift' if self._dry_run else 'lifted'}"] if done else []
            stays = counts["already_revoked"] + counts["denied"]
            parts += [f"{stays:,} {'stay' if stays != 1 else 'stays'} denied"] if stays else []
        else:
            done = sum(counts[name] for name in _DENIED)
            now = counts["revoked"] + counts["suspended"]
            parts = [f"{done:,} {'to deny' if self._dry_run else 'denied'} ({now:,} now, {done - now:,} before)"] if done else []
        parts += [
            f"{counts[name]:,} {name.replace('_', ' ')}"
            for name in ("unknown", "named_only", "unreachable", "still_active", "unverified")
            if counts[name]
        ]
        if self._gathered.foreign:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self._gathered.foreign.items()))
            parts.append(f"secrets of others, left alone: {kinds}")
        if not counts.total():
            others = other_profiles(self._context) if code == NotFound.exit_code else None
            parts.append(f"nothing to {verb} was found" + (f"; {others}" if others else ""))
        line = ", ".join(parts) + ("" if self._dry_run else f"; request {self._action.reason.request_id}")
        if not done and code not in (0, TokenNotActive.exit_code) and not console.quiet:
            console.complain(line)
        else:
            console.chat(line)
        if done and not self._dry_run:
            console.chat(f"next: {console.command} audit log --request-id {self._action.reason.request_id}")


def _with_offline(outcome: Outcome, told: str) -> str:
    if outcome.offline_until is None:
        return told
    return f"{told}; verifiers that do not ask may accept it until {format_instant(outcome.offline_until)}"
