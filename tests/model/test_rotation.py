"""Which step of a key is due: the whole machine as a table."""

from __future__ import annotations

import pytest

from tokenctl.model.rotation import Outlook, Rotation, Step, plan
from tokenctl.model.times import DAY, HOUR
from tokenctl.model.token import Key

NOW = 1_795_000_000_000
POLICY = Rotation(age=90 * DAY, publication=24 * HOUR, grace=HOUR)


def key(kid: str, state: str, *, alg: str = "ES256", **times: int) -> Key:
    """A key whose times are told as how long ago they were."""
    ago = {f"{name}_at": NOW - duration for name, duration in times.items()}
    facts = {"kid": kid, "alg": alg, "state": state, "public": "{}", "sealed": None, "kek_version": 1, "created_at": 0}
    return Key(**(facts | ago))  # names are checked by the tuple


def planned(*keys: Key, **facts: object) -> list[tuple[str, str | None, int]]:
    """Each step as action, kid and how far from now it is."""
    steps = plan(keys, POLICY, now=NOW, **({"last_expiry": {}} | facts))  # by plan itself
    return [(step.action, step.kid, step.at - NOW) for step in steps]


ACTIVE = key("a", "active", published=100 * DAY, activated=10 * DAY)
OLD = key("a", "active", published=100 * DAY, activated=90 * DAY)
RETIRING = key("r", "retiring", activated=80 * DAY, retiring=DAY)
FRESH = key("p", "published", published=HOUR)
SEEN = key("p", "published", published=24 * HOUR)


@pytest.mark.parametrize(
    ("keys", "facts", "steps"),
    [
        ([], {}, []),
        ([], {"algorithm": "ES256"}, [("publish", None, 0)]),
        ([ACTIVE], {}, [("publish", None, 80 * DAY)]),
        ([OLD], {}, [("publish", None, 0)]),
        ([key("a", "active", activated=90 * DAY - 1)], {}, [("publish", None, 1)]),
        ([ACTIVE], {"algorithm": "ES256"}, [("publish", None, 80 * DAY)]),
        ([ACTIVE], {"algorithm": "EdDSA"}, [("publish", None, 0)]),
        ([OLD, FRESH], {}, [("activate", "p", 23 * HOUR)]),
        ([OLD, SEEN], {}, [("activate", "p", 0)]),
        ([OLD, SEEN], {"lacking": {"p"}}, [("publish", "p", 0)]),
        ([OLD, FRESH], {"lacking": {"p"}}, [("publish", "p", 0)]),
        ([OLD, SEEN], {"lacking": {"other"}}, [("activate", "p", 0)]),
        ([FRESH], {}, [("activate", "p", 23 * HOUR)]),
        ([SEEN], {}, [("activate", "p", 0)]),
        ([ACTIVE, RETIRING], {}, [("retire", "r", HOUR - DAY), ("publish", None, 80 * DAY)]),
        ([ACTIVE, RETIRING], {"last_expiry": {"r": NOW}}, [("retire", "r", HOUR), ("publish", None, 80 * DAY)]),
        ([ACTIVE, RETIRING], {"last_expiry": {"r": NOW - HOUR}}, [("retire", "r", 0), ("publish", None, 80 * DAY)]),
        ([ACTIVE, RETIRING], {"last_expiry": {"r": NOW + 99 * DAY}}, [("publish", None, 80 * DAY), ("retire", "r", 2377 * HOUR)]),
        ([ACTIVE, key("r", "retiring", retiring=0)], {}, [("retire", "r", HOUR), ("publish", None, 80 * DAY)]),
        (
            [ACTIVE, RETIRING, key("s", "retiring", retiring=2 * DAY)], {"last_expiry": {"s": NOW}},
            [("retire", "r", HOUR - DAY), ("retire", "s", HOUR), ("publish", None, 80 * DAY)],
        ),
        ([ACTIVE, key("o", "retired", activated=99 * DAY)], {}, [("publish", None, 80 * DAY)]),
        ([ACTIVE, key("o", "compromised", activated=99 * DAY)], {}, [("publish", None, 80 * DAY)]),
        ([key("o", "compromised", activated=99 * DAY)], {}, [("renew", None, 0)]),
        ([key("o", "compromised", activated=99 * DAY), RETIRING], {}, [("retire", "r", HOUR - DAY), ("renew", None, 0)]),
        ([key("o", "compromised", published=99 * DAY)], {}, []),
        ([key("o", "retired", published=99 * DAY)], {"algorithm": "ES256"}, [("publish", None, 0)]),
        # The clock was set back after these.
        ([key("a", "active", activated=-DAY)], {}, [("publish", None, 0)]),
        ([ACTIVE, key("p", "published", published=-1)], {}, [("publish", "p", 0)]),
        (
            [ACTIVE, key("r", "retiring", retiring=-DAY)], {"last_expiry": {"r": NOW}},
            [("retiring", "r", 0), ("publish", None, 80 * DAY)],
        ),
        ([OLD, key("e", "active", alg="EdDSA", activated=DAY)], {}, [("publish", None, 0), ("publish", None, 89 * DAY)]),
        ([OLD, key("e", "active", alg="EdDSA", activated=DAY)], {"algorithm": "EdDSA"}, [("publish", None, 89 * DAY)]),
    ],
)  # fmt: skip
def test_the_next_steps_are_told_soonest_first(keys, facts, steps):
    assert planned(*keys, **facts) == steps


def test_what_is_due_is_due_from_its_millisecond_on():
    steps = [Step("retire", "a", "ES256", NOW - 1), Step("activate", "b", "ES256", NOW), Step("publish", None, "ES256", NOW + 1)]
    assert Outlook(steps, NOW).due == steps[:2]
