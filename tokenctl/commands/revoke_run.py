"""How ``revoke`` carries out an action: outcomes told as each batch becomes durable, whoever listens and whatever interrupts."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from tokenctl.backends.base import Backend
from tokenctl.commands import revoke_screen
from tokenctl.commands.context import Context
from tokenctl.commands.parts import suspension_of
from tokenctl.commands.revoke_targets import Gathered
from tokenctl.errors import AccessDenied, NotFound, Partial, TemporarilyUnavailable, TokenctlError, TokenNotActive
from tokenctl.model.token import Action, Outcome, Target
from tokenctl.render.progress import Progress

_MAY_BE_ACCEPTED = ("unreachable", "still_active", "unverified", "queued")


def run(context: Context, backend: Backend, action: Action, gathered: Gathered, *, ignore_not_found: bool) -> int:
    """Act on every target; return the exit code.

    Raises:
        TokenctlError: the store cannot be changed, and nothing was done.
        KeyboardInterrupt: after a batch; what was done is told.
    """
    console = context.console
    console.hold()
    try:
        return _run(context, backend, action, gathered, ignore_not_found=ignore_not_found)
    finally:
        with suppress(BrokenPipeError, TemporarilyUnavailable):  # something else ends the run
            console.let_go(revoke_screen.PATIENCE)


def _run(context: Context, backend: Backend, action: Action, gathered: Gathered, *, ignore_not_found: bool) -> int:
    waiting = dict.fromkeys(gathered.targets)
    progress = Progress(context.console, revoke_screen.DONE[action.verb], len(waiting))
    report = revoke_screen.Report(context, action, gathered, dry_run=False, progress=progress, ignore_not_found=ignore_not_found)
    for outcome in gathered.doubted:
        report.tell(outcome)
    try:
        for outcome in _outcomes(backend, action, list(gathered.targets.values())):
            waiting.pop(outcome.id, None)
            report.tell(outcome)
            progress.reach(len(gathered.targets) - len(waiting))
    except TokenctlError as error:
        progress.finish()
        if len(waiting) == len(gathered.targets):
            for identifier in waiting:
                context.console.complain(f"not {revoke_screen.DONE[action.verb]}: {identifier}")
            raise
        context.console.error(error)
        for identifier in waiting:
            report.tell(Outcome(id=identifier, outcome="unreachable", detail=error.message))
    except KeyboardInterrupt:
        progress.finish()
        for outcome in _after_interrupt(backend, action, gathered, list(waiting)):
            report.tell(outcome, quietly=outcome.outcome == "unreachable")
        report.interrupted(len(gathered.targets))
        raise
    progress.finish()
    code = exit_code(report.counts, action, ignore_not_found=ignore_not_found, failures=report.failures)
    try:
        report.conclude(code)
    except KeyboardInterrupt:  # only a reader was waited for
        context.console.complain(f"interrupted: {len(gathered.targets):,} of {len(gathered.targets):,} done, not all was read")
        raise
    return code


def foresee(context: Context, backend: Backend, action: Action, gathered: Gathered, *, ignore_not_found: bool) -> int:
    """Say of every target what would become of it; return what would be the exit code."""
    report = revoke_screen.Report(context, action, gathered, dry_run=True, ignore_not_found=ignore_not_found)
    for outcome in gathered.doubted:
        report.tell(outcome)
    for identifier, found in backend.directory.look_up(list(gathered.targets)):
        elsewhere = gathered.targets[identifier].text is not None
        report.tell(revoke_screen.foreseen(action, identifier, found, elsewhere=elsewhere))
    code = exit_code(report.counts, action, ignore_not_found=ignore_not_found)
    report.conclude(code)
    return code


def exit_code(
    counts: Counter[str], action: Action, *, ignore_not_found: bool, failures: Counter[int | None] | None = None
) -> int:
    """Merge the outcomes into one code: may be accepted 11, stays denied though it was to be lifted 3, unknown 5, else 0.

    Args:
        failures: The exit codes of what kept targets from being reached, ``None`` for the others: where all of them failed for
            one reason, that the service was away or refused the operator, it is that code.
    """
    if any(counts[name] for name in _MAY_BE_ACCEPTED):
        reasons = [code for code, number in (failures or {}).items() if number]
        alone = reasons[0] if len(reasons) == 1 else None
        return alone if alone in (AccessDenied.exit_code, TemporarilyUnavailable.exit_code) else Partial.exit_code
    if action.verb == "lift" and counts["already_revoked"] + counts["denied"]:
        return TokenNotActive.exit_code
    targets = sum(counts.values()) - counts["named_only"]
    if (counts["unknown"] or not targets) and not ignore_not_found:
        return NotFound.exit_code
    return 0


def _outcomes(backend: Backend, action: Action, targets: list[Target]) -> Iterator[Outcome]:
    if action.verb == "suspend":
        return suspension_of(backend).suspend(
            targets, action.reason, duration=action.duration, then=action.then, keep_children=action.keep_children
        )
    if action.verb == "lift":
        return suspension_of(backend).lift(targets, action.reason, planned=action.planned)
    return backend.revoke(targets, action.reason, keep_children=action.keep_children)


def _after_interrupt(backend: Backend, action: Action, gathered: Gathered, waiting: list[str]) -> Iterator[Outcome]:
    """Tell of the targets without an outcome: the store knows which of them were reached."""
    for identifier, standing in backend.directory.survey(waiting):
        if standing is None and backend.kind != "local":
            yield Outcome(id=identifier, outcome="unreachable", detail="interrupted before it")
            continue
        if standing is None:
            outcome = "unknown"
        elif action.changes(standing):
            yield Outcome(id=identifier, outcome="unreachable", state_before=standing.state, detail="interrupted before it")
            continue
        elif action.changes(gathered.standings.get(identifier)):
            outcome = revoke_screen.DONE[action.verb]
        else:
            outcome = "already_revoked" if standing.state == "revoked" else "denied"
        yield Outcome(id=identifier, outcome=outcome, detail="seen after the interrupt" if standing is not None else None)
