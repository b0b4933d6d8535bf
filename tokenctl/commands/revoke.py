"""``revoke``: deny tokens for good or for a time, and tell the truth about every one of them."""

import shlex
from typing import NamedTuple

from tokenctl import files
from tokenctl.backends.base import Backend
from tokenctl.commands import inputs, revoke_run, revoke_screen
from tokenctl.commands.context import Context
from tokenctl.commands.parts import suspension_of
from tokenctl.commands.revoke_targets import Gathered, read_sources, select, survey
from tokenctl.commands.selection import Typed, read_selector
from tokenctl.errors import Conflict, InvalidRequest, NotFound, Partial, TemporarilyUnavailable, naming, worst
from tokenctl.model.identifier import new_id
from tokenctl.model.times import SECOND, parse_duration
from tokenctl.model.token import REASONS, Action, Reason, Target

_LONGEST_TEXT = 1024  # characters of a note or a ticket


class Order(NamedTuple):
    """What is to be done and why, as it was typed."""

    targets: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    selectors: Typed = Typed()
    reason: str | None = None
    note: str | None = None
    ticket: str | None = None
    keep_children: bool = False
    suspend: bool = False
    duration: str | None = None
    then: str | None = None
    lift: bool = False
    dry_run: bool = False
    out: str | None = None
    plan: str | None = None
    expect: int | None = None
    yes: bool = False
    ignore_not_found: bool = False
    wait: str | None = None
    including_self: bool = False
    ask: str | None = None
    all_profiles: bool = False

    @property
    def chooses(self) -> bool:
        """Whether it says itself which tokens, and what is done to them: all that a plan holds."""
        plain = Order(
            dry_run=self.dry_run, out=self.out, plan=self.plan, expect=self.expect, yes=self.yes,
            ignore_not_found=self.ignore_not_found, wait=self.wait, including_self=self.including_self, ask=self.ask,
            all_profiles=self.all_profiles,
        )  # fmt: skip
        return self != plain


def revoke(context: Context, order: Order) -> int:
    """Preview, ask, act, and answer for every target; return the one exit code of cli.md.

    Raises:
        InvalidRequest: nothing named, malformed, or not confirmed: nothing was touched (exit 2).
        Conflict: ``--expect`` or the plan differs (exit 6).
    """
    context = context.asking(order.ask)
    if order.plan is not None:
        return _revoke_planned(context, order, order.plan)
    action = _read_action(context, order)
    named = [target for target in order.targets if target != "-"]
    reads = "-" in order.targets or bool(order.sources)
    if order.selectors.any and (named or reads):
        raise InvalidRequest("name tokens or select them, not both")
    if not (order.selectors.any or named or reads):
        raise InvalidRequest(
            "no token named", hint="tokenctl revoke ID, or pipe what leaked: tokenctl revoke - < FILE", reason="nothing_named"
        )
    if order.all_profiles:
        return _revoke_everywhere(context, order, action, named)
    wait = _wait(order)
    with context.backend() as backend:
        if action.verb != "revoke":
            suspension_of(backend)
        backend.wait, backend.including_self = wait, order.including_self
        gathered = Gathered()
        for target in named:
            gathered.name(inputs.id_of(target, backend))
        if order.selectors.any:
            _select(context, backend, order, gathered)
        read_sources(backend, order.sources, gathered, stdin="-" in order.targets)
        survey(backend, gathered)
        return _act(context, backend, order, action, gathered)


def _revoke_everywhere(context: Context, order: Order, action: Action, named: list[str]) -> int:
    """Act in each profile on what belongs to it; what belongs to none is told."""
    from tokenctl.commands.everywhere import at, every_profile
    from tokenctl.commands.revoke_targets import read_everywhere

    if order.selectors.any or order.plan is not None or order.out is not None or order.expect is not None:
        raise InvalidRequest("--all-profiles takes tokens and ids: leave selectors, --plan, --out and --expect out")
    with every_profile(context) as everywhere:
        scattered = read_everywhere(everywhere, order.sources, named, stdin="-" in order.targets)
        if context.console.output == "json" and len(scattered.by_profile) > 1:
            raise InvalidRequest("several profiles, and -o json is one document", hint="-o jsonl prints a target a line")
        for place, gathered in scattered.by_profile.values():
            place.backend.require_reach(gathered.targets.values(), keep_children=action.keep_children)
        codes = []
        for place, gathered in scattered.by_profile.values():
            backend = at(place).backend
            backend.wait, backend.including_self = _wait(order), order.including_self
            survey(backend, gathered)
            codes.append(_act(place.context, backend, order, action, gathered))
        for identifier in scattered.rest.targets:
            context.console.complain(f"unknown to every profile: {identifier}")
        if not scattered.by_profile and not scattered.rest.targets:
            context.console.complain("nothing to revoke was found in any profile")
        missing = bool(scattered.rest.targets) or not scattered.by_profile
        codes += [NotFound.exit_code] if missing and not order.ignore_not_found else []
        return worst([*codes, *([Partial.exit_code] if everywhere.closed else [])])


def _wait(order: Order) -> float:
    with naming("--wait"):
        return parse_duration(order.wait, zero=True) / SECOND if order.wait is not None else 0.0


def _revoke_planned(context: Context, order: Order, path: str) -> int:
    from tokenctl.workflows import plan

    if order.chooses:
        raise InvalidRequest("--plan says which tokens, what is done and why: nothing else can", hint="tokenctl revoke --help")
    if order.out is not None:
        raise InvalidRequest("--out writes a new plan: leave --plan out")
    _check_expectation(order)
    data = inputs.read_file(path, limit=plan.LARGEST_PLAN)
    planned = plan.read(data)
    with context.backend() as backend:
        made, now = backend.plan_made(plan.hash_of(data))
        plan.check(
            planned, profile=backend.name, authority=backend.authority(), made_at=made.at if made else None, now=now,
            turned_back=made is not None and made.turned_back,
        )  # fmt: skip
        gathered = Gathered()
        for identifier, _ in planned.targets:
            gathered.name(identifier)
        survey(backend, gathered)
        return _act(context, backend, order, planned.action._replace(planned=made.seq if made else None), gathered)


def _act(context: Context, backend: Backend, order: Order, action: Action, gathered: Gathered) -> int:
    """Do it to what was gathered, or say what would be done."""
    if action.verb == "revoke":
        backend.require_reach(gathered.targets.values(), keep_children=action.keep_children)
        if order.out is not None:
            backend.require_reach([Target(id=identifier) for identifier in gathered.targets])  # a plan holds ids alone
    # A service may know tokens that have no row here; only it can tell.
    remote = backend.kind != "local"
    changing = [
        identifier for identifier, standing in gathered.standings.items()
        if action.changes(standing) or (remote and standing is None)
    ]  # fmt: skip
    if order.expect is not None and order.expect != len(changing):
        raise Conflict(
            f"--expect {order.expect}, but {len(changing)} would be {revoke_screen.DONE[action.verb]}: nothing was touched",
            reason="expect_differs",
        )  # fmt: skip
    if order.dry_run:
        return _dry_run(context, backend, order, action, gathered, changing)
    if changing and not order.yes:
        revoke_screen.preview(context, backend, action, gathered, changing)
        question = revoke_screen.question(action, len(changing), backend.name)
        context.console.confirm(question, len(changing), revoke_screen.DONE[action.verb])
    return revoke_run.run(context, backend, action, gathered, ignore_not_found=order.ignore_not_found)


# What is meant


def _read_action(context: Context, order: Order) -> Action:
    """Return what is to be done; raises InvalidRequest, all faults together (exit 2)."""
    reason = {"leaked": "compromised", None: "other"}.get(order.reason, order.reason)
    faults = [] if reason in REASONS else [f"--reason: one of {', '.join(REASONS)}"]
    for option, text in (("--note", order.note), ("--ticket", order.ticket)):
        if text is not None and (not text.strip() or len(text) > _LONGEST_TEXT):
            faults.append(f"{option}: is empty or longer than {_LONGEST_TEXT} characters")
        if text is not None and any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            faults.append(f"{option}: not valid UTF-8")
    faults += _suspension_faults(order)
    if order.out is not None and not order.dry_run:
        faults.append("--out: a plan is made by --dry-run")
    if order.out == "":
        faults.append("--out: is empty")
    if faults:
        raise InvalidRequest("; ".join(faults), hint="tokenctl revoke --help")
    _check_expectation(order)
    duration = None
    if order.duration is not None:
        with naming("--for"):
            duration = parse_duration(order.duration)
    return Action(
        verb="suspend" if order.suspend else "lift" if order.lift else "revoke",
        reason=Reason(reason=reason or "other", note=order.note, ticket=order.ticket, request_id=new_id(context.now)),
        duration=duration, then=order.then, keep_children=order.keep_children,
    )  # fmt: skip


def _suspension_faults(order: Order) -> list[str]:
    faults = []
    if order.lift and (order.suspend or order.duration is not None or order.then is not None or order.keep_children):
        faults.append("--lift: goes with neither --suspend, --for, --then nor --keep-children")
    elif not order.suspend and (order.duration is not None or order.then is not None):
        faults.append("--for and --then: add --suspend")
    elif (order.duration is None) != (order.then is None):
        faults.append("--for and --then: one needs the other")
    if order.then not in (None, "lift", "revoke"):
        faults.append("--then: lift or revoke")
    return faults


def _check_expectation(order: Order) -> None:
    if order.expect is not None and order.expect < 0:
        raise InvalidRequest("--expect: a number of tokens", hint="tokenctl revoke --help")


def _select(context: Context, backend: Backend, order: Order, gathered: Gathered) -> None:
    typed = order.selectors
    if order.lift and not typed.state:
        typed = typed._replace(state=("suspended",))
    selector = read_selector(typed, context.now)
    if selector.everything and order.expect is None and not order.dry_run:
        raise InvalidRequest(
            "that selects every token of the profile",
            hint="say how many you mean with --expect N, or make a plan: --dry-run --out FILE", reason="everything",
        )  # fmt: skip
    select(backend, selector, gathered)


# Saying what would be done


def _dry_run(
    context: Context, backend: Backend, order: Order, action: Action, gathered: Gathered, changing: list[str]
) -> int:
    console = context.console
    if order.out is not None and not changing:
        no_plan = f"no plan: nothing to {action.verb}; {order.out} is not written"
        if console.output == "json":
            console.warnings.append(no_plan)
        else:
            console.complain(no_plan)
    if order.out is None or not changing:
        return revoke_run.foresee(context, backend, action, gathered, ignore_not_found=order.ignore_not_found)
    context.refuse_own(order.out)
    delivery = files.Delivery(order.out)  # opened first: a place that cannot be written costs no record
    try:
        code = revoke_run.foresee(context, backend, action, gathered, ignore_not_found=order.ignore_not_found)
        _write_plan(context, backend, action, gathered, changing, delivery)
    finally:
        delivery.discard()
    run = f"{console.command} revoke --plan {shlex.quote(order.out)}"
    console.chat(f"planned: {len(changing):,} in {order.out}; within 1h: {run}")
    return code


def _write_plan(
    context: Context, backend: Backend, action: Action, gathered: Gathered, changing: list[str], delivery: files.Delivery
) -> None:
    """Record the plan, then write its file: one without a record could never be carried out."""
    from tokenctl.workflows import plan

    standings = gathered.standings
    targets = tuple((identifier, standing.state) for identifier in sorted(changing) if (standing := standings[identifier]))
    data = plan.Plan(
        action=action, profile=backend.name, authority=backend.authority() or "", made_at=context.now, targets=targets
    ).to_bytes()
    if len(data) > plan.LARGEST_PLAN:
        most = plan.LARGEST_PLAN // (1024 * 1024)
        raise InvalidRequest(f"the plan would be larger than {most} MiB", hint="select fewer at once")
    backend.record_plan(plan.hash_of(data), action, len(targets))
    try:
        delivery.write(data)
    except OSError as error:
        raise TemporarilyUnavailable(
            f"the plan was not written: {files.cause_of(error)}", hint="make room and run again"
        ) from None
