"""``kill -9``, no room and no right to write, at the first checkpoint and where the log key is replaced."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Cli
from tests.faults.conftest import Homes, assert_refused, assert_sound, rows
from tests.faults.test_killed import _calls, _killed, _some
from tests.formats.test_note import independent

_PARTS = 2
_UNTOUCHED = ("flock", "mkdir", "fchown")  # they change nothing that a kill could leave half done
CHECKPOINT, ROTATE = ("audit", "checkpoint"), ("rotate-keys", "--log-key")


def _told(cli: Cli) -> list[str]:
    """The reasons of the records about log keys."""
    return [str(json.loads(row[0])["reason"]) for row in rows(cli.store, "SELECT body FROM record WHERE operation LIKE 'log.%'")]


def _keys(cli: Cli) -> list[str]:
    found = rows(cli.store, "SELECT value FROM meta WHERE name = 'log_keys'")
    return str(found[0][0]).split("\n") if found else []


@pytest.mark.parametrize("part", range(_PARTS))
def test_a_first_checkpoint_killed_anywhere_leaves_one_key_or_none(cli, tmp_path, part):
    cli.token()
    homes = Homes(cli, tmp_path / "spare")
    calls = [call for call in _calls(cli, tmp_path / "trace", *CHECKPOINT) if call[0] not in _UNTOUCHED]
    for call in _some(calls, 4)[part::_PARTS]:
        homes.put_back()
        died = _killed(cli, call, *CHECKPOINT)
        before = _keys(cli)
        assert before == _told(cli), call
        again = cli(*CHECKPOINT)
        assert (again.code, again.err) == (0, ""), (call, again)
        (key,) = _keys(cli)
        assert before in ([], [key]), call
        assert independent(again.out.encode(), key)
        if died.out:
            assert died.out == again.out, call
        assert_sound(cli)


@pytest.mark.parametrize("part", range(_PARTS))
def test_a_rotation_killed_anywhere_leaves_the_former_key_or_the_next_with_its_proof(cli, tmp_path, part):
    cli.token()
    assert cli(*CHECKPOINT, "-q").code == 0
    (former,) = _keys(cli)
    homes = Homes(cli, tmp_path / "spare")
    calls = [call for call in _calls(cli, tmp_path / "trace", *ROTATE) if call[0] not in _UNTOUCHED]
    for call in _some(calls, 4)[part::_PARTS]:
        homes.put_back()
        died = _killed(cli, call, *ROTATE)
        keys = _keys(cli)
        assert independent(cli(*CHECKPOINT).out.encode(), keys[0])
        handover = cli(*CHECKPOINT, "--handover")
        if keys == [former]:
            assert (handover.code, died.out, len(_told(cli))) == (5, "", 1), call
        else:
            assert keys[1:] == [former], call
            assert _told(cli) == [former, f"{former} to {keys[0]}"], call
            signed = handover.out.partition("\n\n")[2].encode()
            assert independent(signed, former) == independent(signed, keys[0])
            assert died.out in ("", handover.out), call
        assert_sound(cli)


def test_on_a_read_only_medium_a_head_is_signed_and_said_to_be_forgotten(cli, medium):
    cli.token()
    assert cli("audit", "checkpoint", "--key").code == 0
    medium.read_only()
    done = cli(*CHECKPOINT)
    assert (done.code, done.err.splitlines()) == (
        0,
        [
            "warning: the store's medium is read-only or full: nothing can be changed or recorded",
            "warning: the store cannot remember that this head left it: audit verify goes by the one before",
        ],
    )
    assert independent(done.out.encode(), _key_of_copy(cli))
    told = cli(*CHECKPOINT, "-o", "json")
    assert (told.json["note"], len(told.json["warnings"]), told.err) == (done.out, 2, "")
    assert_refused(cli(*ROTATE), 7)
    medium.writable()
    assert cli(*CHECKPOINT).out == done.out
    assert_sound(cli)


def _key_of_copy(cli: Cli) -> str:
    return cli("audit", "checkpoint", "--key", "-q").out.rstrip("\n")


def test_without_a_key_on_a_read_only_medium_none_is_made(cli, medium):
    cli.token()
    medium.read_only()
    assert_refused(cli(*CHECKPOINT), 7)
    medium.writable()
    assert cli(*CHECKPOINT, "-q").code == 0
    assert_sound(cli)


def test_on_a_full_medium_no_key_is_half_made(cli, medium):
    cli.token()
    medium.fill()
    assert_refused(cli(*CHECKPOINT), 7)
    medium.free()
    assert (_keys(cli), _told(cli)) == ([], [])
    assert cli(*CHECKPOINT, "-q").code == 0
    former = _keys(cli)
    medium.fill()
    done = cli(*ROTATE)
    medium.free()
    assert (done.code, done.out) == (7, "")
    assert _keys(cli) == former
    assert cli(*ROTATE, "-q").code == 0
    assert_sound(cli)
