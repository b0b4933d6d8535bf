"""What a policy admits, without a store: the built-in limits, rules, the ceiling, and the reading of its tables."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenctl.errors import InvalidConfiguration
from tokenctl.model.policy import Fault, Limit, Policy
from tokenctl.model.policy_file import read_rules
from tokenctl.model.rules import REQUIREMENTS, Rule, Rules, listed, matches
from tokenctl.model.times import DAY, HOUR, MINUTE
from tokenctl.model.token import DEFAULT_LIFETIME, FORMATS, KINDS, LIFETIME_CAP, TokenRequest


def request(**facts):
    return TokenRequest(**({"subject": "ci-1", "owner": "alice"} | facts))


def rules(*tables, place="", **settings):
    return read_rules(
        {"rule": [{"name": f"r{n}", "subject": "*"} | table for n, table in enumerate(tables, 1)]} | settings, "F", place=place
    )


def faults(policy, **facts):
    return [str(fault) for fault in policy.decide(request(**facts)).faults]


# Patterns


@pytest.mark.parametrize(
    ("pattern", "text", "says"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "aa", False),
        ("", "", True),
        ("*", "", True),
        ("*", "any\nthing", True),
        ("ci-*", "ci-", True),
        ("ci-*", "ci", False),
        ("*-prod", "ci-prod", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "acb", False),
        ("*a*", "bab", True),
        ("**", "x", True),
        ("a*ab", "aab", True),
        ("[a-z]?", "[a-z]?", True),
        ("[a-z]?", "ax", False),
        ("a.c", "abc", False),
        ("*ab*ab*", "abab", True),
        ("*ab*ab", "aba", False),
    ],
)
def test_a_star_is_any_text_and_all_else_is_itself(pattern, text, says):
    assert matches(pattern, text) is says


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
@settings(max_examples=500)
def test_a_pattern_says_what_the_regular_expression_of_its_parts_says(pattern, text):
    oracle = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL)
    assert matches(pattern, text) is (oracle is not None)


def test_no_pattern_takes_long():
    started = time.process_time()
    assert not matches("*a" * 500 + "b*", "a" * 100_000)
    assert not matches("a*" * 500 + "c", "a" * 100_000)
    assert time.process_time() - started < 1


# Without rules


@pytest.mark.parametrize("kind", KINDS)
def test_without_rules_the_built_in_limits_hold(kind):
    policy = Policy()
    decision = policy.decide(request(kind=kind, scope=("a",)))
    assert (decision.lifetime, decision.faults, decision.limits) == (DEFAULT_LIFETIME[kind], [], [])
    assert faults(policy, kind=kind, scope=("a",), lifetime=LIFETIME_CAP[kind]) == []
    assert [
        fault.demand for fault in policy.decide(request(kind=kind, scope=("a*",), lifetime=LIFETIME_CAP[kind] + 1)).faults
    ] == [
        "max-lifetime",
        "no-wildcard-scope",
    ]
    assert policy.built_in


def test_a_lasting_token_names_its_scope_whatever_the_rules_say():
    for policy in (Policy(), Policy(rules({"scopes": "*"}))):
        assert faults(policy, kind="service") == ["scope-required: a token of kind service names its scope"]
        assert faults(policy, kind="access") == []


# With rules


def test_what_no_rule_is_for_is_refused_and_the_nearest_rule_told():
    policy = Policy(rules({"subject": "ci-*", "kinds": "service"}, {"subject": ["ci-1", "x"], "owners": "bob"}, {"subject": "y"}))
    assert faults(policy) == [
        (
            "no-rule: no rule is for subject ci-1, kind access, owner alice "
            "(r1 is for kind service; r2 is for kind access, personal, service, owner bob)"
        )
    ]
    assert faults(policy, subject="z") == ["no-rule: no rule is for subject z, kind access, owner alice (rules: r1, r2, r3)"]


def test_the_first_rule_that_is_for_a_request_decides_alone():
    policy = Policy(rules({"subject": "ci-*", "scopes": "a"}, {"scopes": ["a", "b"]}))
    assert faults(policy, scope=("b",)) == ["rule r1: scope: b (admitted: a)"]
    assert faults(policy, subject="other", scope=("b",)) == []
    assert policy.decide(request()).verdicts[0].rule == "rule r1"


@pytest.mark.parametrize(
    ("rule", "good", "bad", "told"),
    [
        (
            {"scopes": ["deploy:*", "read"]},
            {"scope": ("deploy:x", "read")},
            {"scope": ("read", "write", "x")},
            "scope: write, x (admitted: deploy:*, read)",
        ),
        ({}, {}, {"scope": ("read",)}, "scope: read (admitted: none)"),
        ({"scopes": ["*"]}, {"scope": ("a",)}, {"scope": ("a:*",)}, "wildcard-scope: a:* (admitted: none)"),
        ({"wildcard_scopes": ["a:*"]}, {"scope": ("a:*",)}, {"scope": ("a:b*",)}, "wildcard-scope: a:b* (admitted: a:*)"),
        ({"formats": "jwt"}, {"format": "jwt"}, {}, "format: opaque (admitted: jwt)"),
        (
            {"claims": ["tier", "x_*"]},
            {"claims": (("tier", 1), ("x_1", 2))},
            {"claims": (("other", 1),)},
            "claim: other (admitted: tier, x_*)",
        ),
        ({}, {}, {"claims": (("tier", 1),)}, "claim: tier (admitted: none)"),
        (
            {"audiences": "api.*"},
            {"audience": ("api.a", "api.b")},
            {"audience": ("api.a", "web")},
            "audience: web (admitted: api.*)",
        ),
        ({"audiences": "api.*"}, {"audience": ("api.a",)}, {}, "audience: none (admitted: api.*)"),
        (
            {"labels": ["team=a*", "env"]},
            {"labels": (("team", "ab"), ("env", ""))},
            {"labels": (("team", "b"),)},
            "label: team=b (admitted: env=*, team=a*)",
        ),
        (  # a star of the name ends at the first =
            {"labels": ["team-*=blue"]},
            {"labels": (("team-1", "blue"),)},
            {"labels": (("team-1", "red=blue"),)},
            "label: team-1=red=blue (admitted: team-*=blue)",
        ),
        (
            {"labels": ["a=*=b"]},
            {"labels": (("a", "x=b"),)},
            {"labels": (("a", "b"),)},
            "label: a=b (admitted: a=*=b)",
        ),
        ({"notes": "INC-*"}, {"note": "INC-7"}, {"note": "because"}, "note: because (admitted: INC-*)"),
        ({"notes": "INC-*"}, {"note": "INC-7"}, {}, "note: none (admitted: INC-*)"),
        ({"require": "label:team"}, {"labels": (("team", ""),)}, {"labels": (("tea", "m"),)}, "require: --label team=…"),
        (
            {"max_lifetime": "1h"},
            {"lifetime": HOUR},
            {"lifetime": HOUR + 1},
            "max-lifetime: a token of kind access lives at most 1h",
        ),
        (
            {"max_lifetime": {"access": "2d"}},
            {"lifetime": 2 * DAY},
            {"lifetime": 3 * DAY},
            "max-lifetime: a token of kind access lives at most 2d",
        ),
    ],
)
def test_each_demand_admits_and_refuses(rule, good, bad, told):
    policy = Policy(rules(rule))
    assert faults(policy, **good) == []
    assert faults(policy, **bad) == [f"rule r1: {told}"]


@pytest.mark.parametrize(
    ("word", "good"),
    [
        ("audience", {"audience": ("a",)}),
        ("max-uses", {"max_uses": 1}),
        ("note", {"note": "n"}),
        ("parent", {"parent": "p"}),
        ("request-id", {"request_id": "r"}),
        ("scope", {"scope": ("a",)}),
        ("ttl", {"lifetime": MINUTE}),
    ],
)
def test_each_requirement_is_an_option_that_must_be_there(word, good):
    policy = Policy(rules({"require": word, "scopes": "a"}))
    assert faults(policy, **good) == []
    assert faults(policy) == [f"rule r1: require: --{word}"]


def test_every_requirement_has_a_case_above():
    assert set(REQUIREMENTS) == {"audience", "max-uses", "note", "parent", "request-id", "scope", "ttl"}


def test_every_broken_demand_is_told_together():
    policy = Policy(
        rules({"scopes": "a", "formats": "opaque", "require": ["note", "ttl"], "audiences": "x", "max_lifetime": "1h"})
    )
    decision = policy.decide(request(scope=("b", "c*"), format="jwt", claims=(("k", 1),), audience=("y",), lifetime=DAY))
    assert [fault.demand for fault in decision.faults] == [
        "max-lifetime",
        "format",
        "scope",
        "wildcard-scope",
        "claim",
        "audience",
        "require",
    ]


def test_the_lifetime_not_asked_for_is_the_narrowest_default():
    file = rules(
        {"subject": "a", "default_lifetime": "5m"},
        {"subject": "b", "max_lifetime": "1m"},
        {},
        max_lifetime="10m",
        default_lifetime={"access": "7m"},
    )
    for subject, lifetime in (("a", 5), ("b", 1), ("c", 7)):
        decision = Policy(file).decide(request(subject=subject))
        assert (decision.lifetime, decision.faults) == (lifetime * MINUTE, [])
    assert Policy(file, rules({"max_lifetime": "3m"}, place="ceiling")).decide(request()).lifetime == 3 * MINUTE
    assert Policy(Rules(max_lifetime={"access": MINUTE})).decide(request()).lifetime == MINUTE


def test_a_default_of_the_request_is_no_lifetime_that_was_asked_for():
    policy = Policy(rules({"default_lifetime": "5m", "max_lifetime": "30m"}))
    own = request(default_lifetime=10 * MINUTE)
    assert policy.decide(own).lifetime == 10 * MINUTE
    assert policy.decide(own._replace(default_lifetime=HOUR)).lifetime == 30 * MINUTE
    assert policy.decide(own._replace(lifetime=MINUTE)).lifetime == MINUTE
    assert faults(Policy(rules({"require": "ttl"})), default_lifetime=HOUR) == ["rule r1: require: --ttl"]


def test_a_request_passes_the_profile_and_the_ceiling():
    policy = Policy(rules({"scopes": ["a", "b"], "max_lifetime": "90d"}), rules({"scopes": ["b", "c"]}, place="ceiling"))
    assert faults(policy, scope=("b",)) == []
    assert faults(policy, scope=("a", "c"), lifetime=2 * DAY) == [
        "rule r1: scope: c (admitted: a, b)",
        "ceiling rule r1: max-lifetime: a token of kind access lives at most 1d",
        "ceiling rule r1: scope: a (admitted: b, c)",
    ]
    assert faults(Policy(None, rules(place="ceiling", max_lifetime="1m")), lifetime=HOUR) == [
        "ceiling: max-lifetime: a token of kind access lives at most 1m"
    ]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [("", "scope"), ("rule ci", "ci/scope"), ("ceiling", "ceiling:scope"), ("ceiling rule ci", "ceiling:ci/scope")],
)
def test_a_fault_has_a_word_for_machines(rule, reason):
    assert Fault("scope", "x", rule).reason == reason


def test_a_limit_is_reached_not_passed():
    limit = Limit("rule r", 2, KINDS, ("*",))
    assert limit.faults(1, "alice") == []
    assert [str(fault) for fault in limit.faults(2, "alice")] == [
        "rule r: limit-per-owner: alice has 2 living tokens of at most 2"
    ]


# The hash


def test_the_hash_stands_for_what_is_said_and_not_for_how():
    one = Policy(rules({"scopes": ["a", "b"], "kinds": ["access"], "max_lifetime": "60m"}))
    same = Policy(rules({"kinds": "access", "scopes": ["b", "a", "b"], "max_lifetime": {"access": "1h"}}))
    assert one.hash == same.hash
    others = [
        Policy(),
        Policy(rules({"scopes": ["a"]})),
        Policy(rules({"scopes": ["a"]}, {})),
        Policy(rules({}, {"scopes": ["a"]})),
        Policy(rules(max_lifetime="1h")),
        Policy(None, rules({"scopes": ["a"]}, place="ceiling")),
        Policy(None, rules(place="ceiling")),
    ]
    assert len({policy.hash for policy in [one, *others]}) == len(others) + 1


# Reading the tables


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"rule": {"name": "a"}}, "rule is written [[rule]]"),
        (
            {"rule": [{}]},
            "rule 1: name: is required; rule 1: subject: is required: a pattern, for example ci-*, or a list of them",
        ),
        ({"rule": [{"name": "a b", "subject": "*"}]}, "rule 1: name: letters, digits and _ . - are needed, at most 64"),
        ({"rule": [{"name": "a", "subject": "*"}] * 2}, "rule a is there twice"),
        ({"rule": [{"name": "a", "subject": 5}]}, "rule a: subject: is a text or a list of texts"),
        (
            {"rule": [{"name": "a", "subject": [""]}]},
            "rule a: subject: a text is empty, longer than 1024 characters or not printable",
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "audiences": []}]},
            "rule a: audiences: is an empty list, which nothing fits; leave it out to say nothing",
        ),
        ({"rule": [{"name": "a", "subject": "*", "kinds": ["root"]}]}, "rule a: kinds: root: one of access, personal, service"),
        ({"rule": [{"name": "a", "subject": "*", "scopes": "a b"}]}, "rule a: scopes: one scope a text, without a space"),
        (
            {"rule": [{"name": "a", "subject": "*", "wildcard_scopes": "a"}]},
            "rule a: wildcard_scopes: a: has no *: write it in scopes",
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "require": "reason"}]},
            "rule a: require: reason: one of audience, max-uses, note, parent, request-id, scope, ttl, label:NAME",
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "limit_per_owner": 0}]},
            "rule a: limit_per_owner: is a number from 1 to 1000000000",
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "limit_per_owner": True}]},
            "rule a: limit_per_owner: is a number from 1 to 1000000000",
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "max_lifetime": 5}]},
            'rule a: max_lifetime: is a duration, "30d", or one for each kind, { personal = "30d" }',
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "max_lifetime": "1y"}]},
            "rule a: max_lifetime: not a duration (years differ in length: 365d?)",
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "max_lifetime": {"root": "1d"}}]},
            "rule a: max_lifetime: names a kind that is none of access, personal, service",
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "max_lifetime": {"access": [1]}}]},
            "rule a: max_lifetime: not a duration (write 90s, 15m, 12h, 30d or 1d12h)",
        ),
        (
            {"rule": [{"name": "a", "subject": "*", "kinds": "access", "default_lifetime": "2d"}]},
            "rule a: default_lifetime: 2d for access is more than its max_lifetime, 1d",
        ),
        (
            {
                "max_lifetime": {"access": "1h"},
                "rule": [{"name": "a", "subject": "*", "kinds": "access", "default_lifetime": "2h"}],
            },
            "rule a: default_lifetime: 2h for access is more than its max_lifetime, 1h",
        ),
        (
            {"default_lifetime": "91d", "max_lifetime": "90d"},
            "; ".join(f"default_lifetime: 91d for {kind} is more than its max_lifetime, 90d" for kind in KINDS),
        ),
    ],
)
def test_a_table_that_is_not_understood_is_told_with_its_place(tables, told):
    with pytest.raises(InvalidConfiguration) as caught:
        read_rules(tables, "F")
    assert caught.value.message == f"F: {told}"


def test_an_unknown_key_is_told_with_the_known_ones_and_all_faults_together():
    with pytest.raises(InvalidConfiguration) as caught:
        read_rules({"rule": [{"name": "a", "subject": "*", "command": "rm", "kinds": "x"}, {"name": "b"}]}, "F")
    assert caught.value.message == (
        "F: rule a: command: unknown; known: audiences, claims, default_lifetime, formats, kinds, labels, limit_per_owner, "
        "max_lifetime, name, notes, owners, require, scopes, subject, wildcard_scopes; "
        "rule a: kinds: x: one of access, personal, service; "
        "rule b: subject: is required: a pattern, for example ci-*, or a list of them"
    )


def test_a_ceiling_gives_no_default():
    for tables in ({"default_lifetime": "1m"}, {"rule": [{"name": "a", "subject": "*", "default_lifetime": "1m"}]}):
        with pytest.raises(InvalidConfiguration, match="default_lifetime: a ceiling gives no default"):
            read_rules(tables, "F", place="ceiling")


def test_a_long_list_is_cut():
    assert listed([str(n) for n in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7, and 2 more"
    assert listed([]) == "none"


# No request that is admitted breaks a rule, stated in plain

_WORDS = st.sampled_from(["a", "b", "a:x", "b:x", "a:*"])
_PATTERNS = st.lists(st.sampled_from(["a", "b", "a*", "*x", "*", "a:x"]), max_size=3, unique=True)
_SOME = st.none() | st.lists(st.sampled_from(["a", "b", "a*", "*"]), min_size=1, max_size=2, unique=True)
_LIFETIMES = st.sampled_from([MINUTE, HOUR, DAY, 40 * DAY, 100 * DAY])
_RULE = st.builds(
    lambda subjects, kinds, owners, scopes, wild, claims, audiences, formats, require, longest, name: Rule(
        name=name,
        subjects=tuple(subjects or ["*"]),
        kinds=tuple(kinds),
        owners=None if owners is None else tuple(owners),
        scopes=tuple(scopes),
        wildcard_scopes=tuple(wild),
        claims=tuple(claims),
        audiences=None if audiences is None else tuple(audiences),
        formats=tuple(formats),
        require=tuple(require),
        max_lifetime=longest,
    ),
    _PATTERNS,
    st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
    _SOME,
    _PATTERNS,
    st.lists(st.just("a:*"), max_size=1),
    _PATTERNS,
    _SOME,
    st.lists(st.sampled_from(FORMATS), min_size=1, unique=True),
    st.lists(st.sampled_from(sorted(REQUIREMENTS)), max_size=2, unique=True),
    st.none() | st.dictionaries(st.sampled_from(KINDS), _LIFETIMES, max_size=3),
    st.uuids().map(str),
)
_REQUEST = st.builds(
    TokenRequest,
    subject=_WORDS,
    owner=st.sampled_from(["a", "b"]),
    kind=st.sampled_from(KINDS),
    format=st.sampled_from(FORMATS),
    scope=st.lists(_WORDS, max_size=3, unique=True).map(tuple),
    audience=st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True).map(tuple),
    lifetime=st.none() | _LIFETIMES,
    claims=st.lists(st.tuples(st.sampled_from(["a", "b", "x"]), st.just(1)), max_size=2).map(tuple),
    note=st.none() | st.just("n"),
    max_uses=st.none() | st.just(1),
    parent=st.none() | st.just("p"),
    request_id=st.none() | st.just("r"),
)


def plainly(pattern, text):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def any_fits(patterns, text):
    return any(plainly(pattern, text) for pattern in patterns)


def breaks(rule, asked, longest):
    """Yield each demand of one rule that a request breaks, stated without the code under test."""
    if asked.lifetime is not None and asked.lifetime > (rule.max_lifetime or {}).get(asked.kind, longest):
        yield "lifetime"
    for scope in asked.scope:
        if "*" in scope and scope not in rule.wildcard_scopes:
            yield "wildcard"
        if "*" not in scope and not any_fits(rule.scopes, scope):
            yield "scope"
    if any(not any_fits(rule.claims, name) for name, _ in asked.claims):
        yield "claim"
    if rule.audiences is not None and (not asked.audience or any(not any_fits(rule.audiences, one) for one in asked.audience)):
        yield "audience"
    if asked.format not in rule.formats:
        yield "format"
    given_options = {
        "audience": asked.audience,
        "max-uses": asked.max_uses,
        "note": asked.note,
        "parent": asked.parent,
        "request-id": asked.request_id,
        "scope": asked.scope,
        "ttl": asked.lifetime,
    }
    yield from (word for word in rule.require if not given_options[word])


def deciding(file, asked):
    for rule in file:
        if any_fits(rule.subjects, asked.subject) and asked.kind in rule.kinds and any_fits(rule.owners or ["*"], asked.owner):
            return rule
    return None


@given(st.lists(_RULE, max_size=3), st.none() | st.lists(_RULE, max_size=2), _REQUEST)
@settings(max_examples=600, deadline=None)
def test_a_request_is_admitted_where_it_breaks_nothing_and_only_there(own, above, asked):
    policy = Policy(Rules(own), None if above is None else Rules(above, place="ceiling"))
    broken = ["scope"] if asked.kind != "access" and not asked.scope else []
    for file in (own, above):
        if file is None:
            continue
        if not file:
            broken += ["wildcard" for scope in asked.scope if "*" in scope]
            broken += ["lifetime"] if asked.lifetime is not None and asked.lifetime > LIFETIME_CAP[asked.kind] else []
            continue
        rule = deciding(file, asked)
        broken += ["no rule"] if rule is None else breaks(rule, asked, LIFETIME_CAP[asked.kind])
    decision = policy.decide(asked)
    assert bool(decision.faults) is bool(broken)
    if not decision.faults:
        assert decision.lifetime <= min(verdict.longest for verdict in decision.verdicts)
