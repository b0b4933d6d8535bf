"""What a selector means as SQL: every index in use, no row left out that the rules would choose."""

from __future__ import annotations

import itertools

import apsw
import pytest

from tokenctl.model.selector import Selector
from tokenctl.model.token import LIVING_STATES, STATES
from tokenctl.store import choosing, schema

NOW = 1_800_000_000_000
SELECT = "SELECT token.id FROM token"


@pytest.fixture(scope="module")
def store():
    connection = apsw.Connection(":memory:")
    for statement in itertools.chain.from_iterable(schema.MIGRATIONS):
        connection.execute(statement)
    return connection


def plan(store, selector):
    sql, values = choosing.statement(SELECT, selector, now=NOW)
    return [row[3] for row in store.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize(
    ("selector", "index"),
    [
        (Selector(), "token_by_expiry"),
        (Selector(subject=("s",)), "token_by_subject"),
        (Selector(owner=("o",)), "token_by_owner"),
        (Selector(kid=("k",)), "token_by_kid"),
        (Selector(parent=("p",)), "token_by_parent"),
        (Selector(batch=("b",)), "token_by_batch"),
        (Selector(scope=("sc",)), "tag USING PRIMARY KEY"),
        (Selector(audience=("a",)), "tag USING PRIMARY KEY"),
        (Selector(labels=("k=v",)), "tag USING PRIMARY KEY"),
        (Selector(scope=("sc",), audience=("a",), labels=("k",)), "tag USING PRIMARY KEY"),
        (Selector(scope=("sc",), states=STATES), "tag USING PRIMARY KEY"),
        (Selector(subject=("s",), scope=("sc",)), "token_by_subject"),
        (Selector(expires_before=NOW), "token_by_expiry"),
    ],
)
def test_each_selector_that_has_an_index_is_led_by_it(store, selector, index):
    found = plan(store, selector)
    assert index in "; ".join(found), found
    assert not any(step.startswith("SCAN token") and "INDEX" not in step for step in found), found


@pytest.mark.parametrize(
    "selector",
    [
        Selector(), Selector(subject=("s",)), Selector(owner=("o",)), Selector(kid=("k",)), Selector(scope=("sc",)),
        Selector(labels=("k=v",)),
    ],
)  # fmt: skip
def test_the_first_rows_come_without_sorting_the_others(store, selector):
    assert not any("TEMP B-TREE" in step for step in plan(store, selector))


def rows():
    """Every combination of the facts that a state comes from."""
    facts = itertools.product(
        (NOW - 1, NOW, NOW + 1), (None, NOW - 5), (None, NOW - 5), (None, NOW + 9), ((None, 0), (1, 0), (1, 1)), (None, "parent"),
        (None, "1 2 3 4"), (None, NOW - 9),
    )  # fmt: skip
    for number, fact in enumerate(facts):
        expires_at, revoked_at, suspended_at, not_before, (max_uses, uses), parent, run, delivered_at = fact
        yield (f"{number:022}", expires_at, revoked_at, suspended_at, not_before, max_uses, uses, parent, run, delivered_at)


@pytest.fixture(scope="module")
def filled(store):
    sql = """INSERT INTO token (id, kind, format, subject, owner, issued_by, issued_at, children_kept, leaf, mac, verifier,
             expires_at, revoked_at, suspended_at, not_before, max_uses, uses, parent, run, delivered_at)
             VALUES (?, 'access', 'opaque', 's', 'o', 'x', 0, 0, 1, x'00', NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
    store.executemany(sql, rows())
    return store


def may_be(row, state):
    """Whether a row can be in a state, by the rules of standing_of; what only other rows decide may always be."""
    _, expires_at, revoked_at, suspended_at, not_before, max_uses, uses, parent, run, delivered_at = row
    doomed = parent is not None or run is not None or delivered_at is None
    if state in ("revoked", "undelivered"):
        return revoked_at is not None or doomed if state == "revoked" else delivered_at is None
    if revoked_at is not None:
        return False
    if state == "expired" or expires_at <= NOW:
        return state == "expired" and expires_at <= NOW
    if state == "suspended" or suspended_at is not None:
        return state == "suspended" and (suspended_at is not None or parent is not None)
    if state == "not_yet_valid" or (not_before or 0) > NOW:
        return state == "not_yet_valid" and (not_before or 0) > NOW
    if state == "spent":
        return max_uses is not None  # its children may have the rest
    return max_uses is None or uses < max_uses


@pytest.mark.parametrize(
    "states", [*((state,) for state in (*STATES, "undelivered")), LIVING_STATES, STATES, ("spent", "expired")]
)  # fmt: skip
def test_no_row_is_left_out_that_may_be_in_a_wanted_state(filled, states):
    sql, values = choosing.statement(SELECT, Selector(states=states), now=NOW)
    chosen = {row[0] for row in filled.execute(sql, values)}
    assert {row[0] for row in rows() if any(may_be(row, state) for state in states)} <= chosen


def test_pages_put_together_are_the_whole(filled):
    whole = [row[0] for row in filled.execute(*choosing.statement(SELECT, Selector(states=STATES), now=NOW))]
    expiry = dict(filled.execute("SELECT id, expires_at FROM token"))
    paged, after = [], None
    while True:
        sql, values = choosing.statement(SELECT, Selector(states=STATES), now=NOW, after=after)
        page = [row[0] for row in filled.execute(f"{sql} LIMIT 100", values)]
        if not page:
            break
        paged += page
        after = (expiry[page[-1]], page[-1])
    assert paged == whole
    assert len(whole) == len(list(rows()))
