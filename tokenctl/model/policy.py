"""What a profile allows to be issued.

Without rules of its own a profile keeps these: lifetimes are capped by kind, a lasting token names what it may do,
and no scope is a wildcard.
"""

from __future__ import annotations

import hashlib

from tokenctl.errors import PolicyDenied
from tokenctl.model.record import canonical
from tokenctl.model.times import format_duration
from tokenctl.model.token import DEFAULT_LIFETIME, LIFETIME_CAP, TokenRequest


def lifetime_of(request: TokenRequest) -> int:
    """Return the lifetime a request asks for, or the default of its kind, in milliseconds."""
    return request.lifetime if request.lifetime is not None else DEFAULT_LIFETIME[request.kind]


def faults(request: TokenRequest) -> list[str]:
    """Return every rule that a request breaks, each as ``rule: what``; above a cap is refused, never cut."""
    broken = []
    if lifetime_of(request) > LIFETIME_CAP[request.kind]:
        cap = format_duration(LIFETIME_CAP[request.kind])
        broken.append(f"max-lifetime: a token of kind {request.kind} lives at most {cap}")
    if request.kind in ("personal", "service") and not request.scope:
        broken.append(f"scope-required: a token of kind {request.kind} names its scope")
    if any("*" in scope for scope in request.scope):
        broken.append("no-wildcard-scope: a scope with * is not allowed")
    return broken


def denied(broken: list[str]) -> PolicyDenied:
    """Return the error that names the rules (exit 12)."""
    return PolicyDenied(f"the policy forbids it: {'; '.join(broken)}", hint="ask for less", reason=broken[0].partition(":")[0])


def policy_hash() -> str:
    """Return the hash of the effective policy, which stands in each record of an issue."""
    rules: dict[str, object] = {
        "default_lifetime": dict(DEFAULT_LIFETIME), "max_lifetime": dict(LIFETIME_CAP),
        "scope_required": ["personal", "service"], "wildcard_scope": False,
    }  # fmt: skip
    return hashlib.sha256(canonical(rules)).hexdigest()
