"""A policy in words, for ``profile show``."""

from __future__ import annotations

from collections.abc import Iterator

from tokenctl.model.policy import SCOPE_REQUIRED, Limits, Policy
from tokenctl.model.rules import Rule, Rules, listed
from tokenctl.model.times import format_duration
from tokenctl.model.token import FORMATS, KINDS


def explain(policy: Policy, ceiling_file: str) -> Iterator[tuple[str, str]]:
    """Yield what is allowed, line by line: a key and a sentence."""
    yield "policy", policy.hash
    yield from _file(policy.profile)
    yield "always", f"a token of kind {' or '.join(SCOPE_REQUIRED)} names its scope"
    if policy.ceiling is None:
        yield "ceiling", f"none ({ceiling_file} is absent)"
        return
    yield "ceiling", f"{ceiling_file}: a request passes it too"
    yield from _file(policy.ceiling)


def _file(limits: Limits) -> Iterator[tuple[str, str]]:
    rules = limits if isinstance(limits, Rules) else Rules(place=limits.place)
    key = f"{rules.place} ".lstrip()
    for rule in rules.rules:
        yield f"{key}rule", f"{rule.name}: {_sentence(rules, rule)}"
    if rules.rules:
        yield f"{key}otherwise", "refused: the first rule that is for a request decides"
    else:
        yield f"{key}rule", f"none: every scope without * is allowed; {_lifetimes(rules, None, KINDS)}"


def _sentence(rules: Rules, rule: Rule) -> str:
    parts = [f"for subject {listed(rule.subjects)}, kind {listed(rule.kinds)}, owner {listed(rule.owners or ['*'])}"]
    parts.append(f"scope {listed([*rule.scopes, *(f'{scope} itself' for scope in rule.wildcard_scopes)])}")
    if len(rule.formats) < len(FORMATS):
        parts.append(f"format {listed(rule.formats)}")
    if rule.claims:
        parts.append(f"claim {listed(rule.claims)}")
    for name, patterns in (("audience", rule.audiences), ("label", rule.labels), ("note", rule.notes)):
        if patterns is not None:
            parts.append(f"{name} {listed(patterns)}{'' if name == 'label' else ' (needed)'}")
    if rule.require:
        parts.append(f"needs {listed(rule.require)}")
    if rule.limit_per_owner is not None:
        parts.append(f"at most {rule.limit_per_owner} living tokens per owner")
    return "; ".join([*parts, _lifetimes(rules, rule, rule.kinds)])


def _lifetimes(rules: Rules, rule: Rule | None, kinds: tuple[str, ...]) -> str:
    told = []
    for kind in kinds:
        default, longest = (format_duration(lifetime) for lifetime in rules.lifetimes(kind, rule))
        told.append(f"{kind} lives {default} unless asked, at most {longest}")
    return ", ".join(told)
