"""The signing keys of the profile: whether their steps are taken in time, and whether verifiers can fetch them."""

from __future__ import annotations

from collections.abc import Iterator

from tokenctl import wiring
from tokenctl.backends.local.signing_keys import LocalSigningKeys
from tokenctl.commands.doctor.finding import Examined, Finding, ok, patiently, warn
from tokenctl.model.rotation import Outlook, Wish
from tokenctl.model.times import DAY, format_distance

_MEND = "tokenctl rotate-keys"


def keys(examined: Examined) -> Iterator[Finding]:
    """Check that every algorithm signs, that no step waits for more than a day, and the published file."""
    facts = examined.opened.facts
    if facts is None or not facts.keys or facts.quarantine is not None:
        return
    outlook, sets = patiently(lambda: _look(examined))
    late = [step for step in outlook.due if step.action in ("renew", "mend") or step.at < outlook.now - DAY]
    for step in late:
        if step.action == "renew":
            yield warn("keys", f"no key signs {step.alg}", _MEND)
        elif step.action == "mend":
            yield warn("keys", "the jwks_file does not hold the keys that verifiers need", _MEND)
        else:
            yield warn("keys", f"a step ({step.action} {step.alg}) is due since {format_distance(step.at, outlook.now)}", _MEND)
    if not late:
        yield ok("keys", f"{sets} for verifiers; next step {_next(outlook)}")


def _look(examined: Examined) -> tuple[Outlook, int]:
    journal = examined.journal()
    try:
        signing = LocalSigningKeys(journal, wiring.open_profile(examined.context.profile, examined.context.surroundings))
        served = signing.jwks()["keys"]
        return signing.outlook(Wish()), len(served) if isinstance(served, list) else 0
    finally:
        journal.close()


def _next(outlook: Outlook) -> str:
    if not outlook.steps:
        return "none"
    step = outlook.steps[0]
    return f"{step.action} {step.alg} {'due' if step.at <= outlook.now else format_distance(step.at, outlook.now)}"
