"""``rotate-keys``: keys that follow one another without breaking a verifier, and what is seen of them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import PROGRAM
from tests.faults.conftest import assert_refused, assert_sound, change, database, rows, waiting
from tests.store.test_migrations import made_old
from tests.stub import answer, serving
from tokenctl.model.times import DAY, HOUR, MINUTE, SECOND, format_instant
from tokenctl.store import schema

T0 = 1_795_000_000_000
JWT = ("--format", "jwt", "--audience", "a")
LEFT = " (left by a step that was killed, or written by another)"
UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
UNSEEN = " will not sign without a jwks_file or a verifier, by which it can be fetched"
NOBODY_HINT = (
    "name a verifier: tokenctl rotate-keys --verifier URL; or write jwks_file into the profile; "
    "or go without: tokenctl rotate-keys --unobserved"
)
NOBODY = "no jwks_file and no verifier says that it can be fetched"


def states(cli):
    """The state of each key, oldest first."""
    return [row[0] for row in rows(cli.store, "SELECT state FROM key ORDER BY rowid")]


def kid_of(cli, state, alg="ES256"):
    ((kid,),) = rows(cli.store, f"SELECT kid FROM key WHERE state = '{state}' AND alg = '{alg}'")
    return kid


def configure(cli, text):
    path = cli.home / ".config/tokenctl/profiles/local.toml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        folder.chmod(0o700)


def issue(cli, now, *arguments):
    done = cli.at(now, "issue", "--subject", "s", *JWT, "-q", *arguments)
    assert done.code == 0, done
    return done.out.strip()


def did(done):
    """The steps that a run told, without their times."""
    warned = [line for line in done.err.splitlines() if not line.endswith(UNSEEN)]
    assert (done.code, warned) == (0, []), done
    return [tuple(line.split("\t")[:3]) for line in done.out.splitlines()]


@pytest.fixture
def published(cli):
    """The profile's jwks_file; its store has a first key that signed, from T0 on."""
    folder = cli.home / "www"
    folder.mkdir()
    configure(cli, f'jwks_file = "{folder}/jwks.json"\n')
    issue(cli, T0)
    return folder / "jwks.json"


def kids(path: Path):
    return [key["kid"] for key in json.loads(path.read_text())["keys"]]


@contextmanager
def verifier(path: Path):
    """A verifier that shows what lies in a file at that moment."""
    with serving(lambda connection: connection.sendall(answer(path.read_bytes()))) as stub:
        yield stub.url()


def test_before_the_first_jwt_there_is_no_key(cli):
    assert cli("rotate-keys", "status") == cli("rotate-keys", "status", "-q")
    assert (cli("rotate-keys", "status").code, cli("rotate-keys", "status").out) == (0, "")
    assert (cli("rotate-keys", "jwks").code, cli("rotate-keys", "jwks").json) == (0, {"keys": []})
    assert list(cli.home.iterdir()) == []


def test_status_tells_each_key(cli):
    cli.token("--format", "jwt", "--audience", "a")
    cli.token("--format", "jwt", "--audience", "a")
    document = cli("rotate-keys", "status", "-o", "json").json
    assert set(document) >= {"keys", "did", "due", "next", "blocked_by"}
    (key,) = document["keys"]
    assert set(key) == {"kid", "alg", "state", "since", "tokens", "retire_after"}
    assert (key["alg"], key["state"], key["tokens"]) == ("ES256", "active", 2)
    assert (len(key["kid"]), key["kid"][0] != "-") == (22, True)
    line = f"{key['kid']}\tES256\tactive\t{key['since']}\t2\tpublish {document['next']['at']}\n"
    assert cli("rotate-keys", "status").out == line
    assert (document["due"], document["did"], document["steps"], document["compromised"]) == (False, [], [], None)
    (told,) = cli("rotate-keys", "status", "-o", "jsonl").lines
    assert told == key | {"next": document["next"], "blocked_by": [], "verifiers": []}


@pytest.mark.parametrize(
    ("algorithm", "members"),
    [("ES256", {"crv", "x", "y"}), ("EdDSA", {"crv", "x"}), ("RS256", {"n", "e"}), ("PS256", {"n", "e"})],
)
def test_the_key_set_holds_public_members_only(cli, algorithm, members):
    cli.token("--audience", "a", "--algorithm", algorithm)
    (key,) = cli("rotate-keys", "jwks").json["keys"]
    assert set(key) == {"kty", "kid", "alg", "use"} | members
    assert (key["alg"], key["use"]) == (algorithm, "sig")


def test_the_key_set_is_written_for_others_to_read(cli):
    cli.token("--format", "jwt", "--audience", "a")
    done = cli("rotate-keys", "jwks", "--out", "jwks.json")
    path = cli.home / "jwks.json"
    assert (done.code, done.out, done.err) == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert json.loads(path.read_text()) == cli("rotate-keys", "jwks").json
    assert cli("rotate-keys", "jwks", "--out", "jwks.json").code == 0
    path.unlink()
    path.symlink_to("elsewhere")
    planted = cli("rotate-keys", "jwks", "--out", "jwks.json")
    assert (planted.code, planted.out) == (2, "")
    assert not (cli.home / "elsewhere").exists()


# The machine, by its clock


def test_a_key_is_published_then_signs_then_retires_and_cron_is_quiet_in_between(cli, published):
    first = kid_of(cli, "active")
    assert kids(published) == [first]
    assert stat.S_IMODE(published.stat().st_mode) == 0o644
    assert did(cli.at(T0 + 90 * DAY - 1, "rotate-keys")) == []
    now = T0 + 90 * DAY
    (told,) = cli.at(now, "rotate-keys").out.splitlines()
    second = kid_of(cli, "published")
    assert told == f"{second}\tpublish\tES256\t{format_instant(now)}\t-"
    assert kids(published) == [first, second]
    assert issue(cli, now).split(".")[0] == issue(cli, now).split(".")[0]
    assert did(cli.at(now + DAY - 1, "rotate-keys")) == []
    assert rows(cli.store, "SELECT DISTINCT kid FROM token") == [(first,)]
    issue(cli, now + DAY - MINUTE, "--ttl", "2h")
    now += DAY
    assert did(cli.at(now, "rotate-keys")) == [(first, "retiring", "ES256"), (second, "activate", "ES256")]
    issue(cli, now)
    assert set(rows(cli.store, "SELECT DISTINCT kid FROM token")) == {(first,), (second,)}
    assert kids(published) == [first, second]
    ends = now - MINUTE + 2 * HOUR
    # One millisecond before the grace is over nothing happens; the token's times are whole seconds.
    last = ends - ends % SECOND
    assert did(cli.at(last + HOUR - 1, "rotate-keys")) == []
    assert did(cli.at(last + HOUR, "rotate-keys")) == [(first, "retire", "ES256"), ("-", "mend", "-")]
    assert (states(cli), kids(published)) == (["retired", "active"], [second])
    assert_sound(cli)


def test_check_changes_nothing_and_says_by_its_code_whether_a_step_is_due(cli):
    issue(cli, T0)
    assert (cli.at(T0, "rotate-keys", "--check").code, cli.at(T0, "rotate-keys", "--check").out) == (0, "")
    before = rows(cli.store, "SELECT count(*) FROM record")
    now = T0 + 90 * DAY
    for command in ("--check", "--dry-run", "-n"):
        done = cli.at(now, "rotate-keys", command)
        assert (done.code, done.err) == (3 if command == "--check" else 0, "")
        assert done.out == f"-\tpublish\tES256\t{format_instant(now)}\t-\n"
    assert cli.at(now, "rotate-keys", "--check", "-q").out == ""
    document = cli.at(now, "rotate-keys", "--check", "-o", "json").json
    step = {"action": "publish", "kid": None, "alg": "ES256", "at": format_instant(now), "detail": None}
    assert document["dry_run"] is False
    assert cli.at(now, "rotate-keys", "-n", "-o", "json").json["dry_run"] is True
    assert (document["due"], document["steps"], document["next"], document["did"]) == (True, [step], step, [])
    assert rows(cli.store, "SELECT count(*) FROM record") == before


def test_if_older_than_stands_for_the_age_of_the_policy(cli):
    issue(cli, T0)
    configure(cli, '[rotation]\nage = "10d"\npublication = "0s"\ngrace = "0s"\n')
    assert cli.at(T0 + 5 * DAY, "rotate-keys", "--check").code == 0
    assert cli.at(T0 + 5 * DAY, "rotate-keys", "--check", "--if-older-than", "6d").code == 0
    assert cli.at(T0 + 5 * DAY, "rotate-keys", "--check", "--if-older-than", "5d").code == 3
    assert cli.at(T0 + 10 * DAY, "rotate-keys", "--check").code == 3
    # Nothing to wait for: one run publishes, signs and retires.
    steps = did(cli.at(T0 + 10 * DAY, "rotate-keys", "--unobserved"))
    assert [action for _, action, _ in steps] == ["publish", "retiring", "activate", "retire"]
    assert states(cli) == ["retired", "active"]


def test_each_algorithm_goes_its_own_way_and_one_that_is_blocked_holds_no_other(cli):
    issue(cli, T0)
    assert [step[1:] for step in did(cli.at(T0, "rotate-keys", "--algorithm", "EdDSA"))] == [("publish", "EdDSA")]
    assert did(cli.at(T0, "rotate-keys", "--algorithm", "EdDSA")) == []
    assert cli.at(T0, "issue", "--subject", "s", *JWT, "--algorithm", "EdDSA").code == 6
    assert did(cli.at(T0 + DAY, "rotate-keys", "--algorithm", "ES256")) == []
    now = T0 + 90 * DAY
    done = cli.at(now, "rotate-keys")
    assert (done.code, [line.split("\t")[1:3] for line in done.out.splitlines()]) == (6, [["publish", "ES256"]])
    waiting = kid_of(cli, "published", "EdDSA")
    fresh = kid_of(cli, "published", "ES256")
    assert done.err.splitlines() == [
        f"warning: {fresh}{UNSEEN}", f"tokenctl: {waiting} (EdDSA) may not sign yet: {NOBODY}",
        f"hint: {NOBODY_HINT}",
    ]  # fmt: skip
    assert [step[1:] for step in did(cli.at(now, "rotate-keys", "--unobserved"))] == [("activate", "EdDSA")]
    assert cli.at(now, "issue", "--subject", "s", *JWT, "--algorithm", "EdDSA").code == 0
    assert_sound(cli)


def test_where_there_is_no_store_only_a_named_algorithm_makes_one(cli):
    assert cli("rotate-keys") == cli("rotate-keys", "--check") == cli("rotate-keys", "-n")
    assert (cli("rotate-keys").code, cli("rotate-keys").out, list(cli.home.iterdir())) == (0, "", [])
    assert cli("rotate-keys", "--algorithm", "EdDSA", "-n").out.startswith("-\tpublish\tEdDSA\t")
    assert list(cli.home.iterdir()) == []
    made = cli("rotate-keys", "--algorithm", "EdDSA", "-q")
    assert (made.code, made.out) == (0, "")
    assert made.err.startswith("notice: made a store")
    assert rows(cli.store, "SELECT alg, state FROM key") == [("EdDSA", "published")]
    cli.token()
    assert did(cli("rotate-keys")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--algorithm", "HS256"), "--algorithm: one of ES256, EdDSA, Ed25519, PS256, RS256"),
        (("--check", "--dry-run"), "--check and --dry-run are two questions: ask one"),
        (
            ("--unobserved", "--verifier", "https://gw.example"),
            "--unobserved asks no verifier: leave --verifier or --unobserved out",
        ),
        (
            ("--verifier", "http://gw.example/jwks"),
            "--verifier: a URL is https without user name and fragment, or http to this machine",
        ),
        (("--compromised", UNKNOWN, "--algorithm", "ES256"), "--compromised goes with --verifier and --dry-run alone"),
        (("--compromised", UNKNOWN, "--check"), "--compromised goes with --verifier and --dry-run alone"),
        (("--if-older-than", "90"), "--if-older-than: not a duration"),
        (("--check", "status"), "--check stands before the sub-verb: put it behind"),
        (("rollback", "--algorithm", "none"), "--algorithm: one of ES256, EdDSA, Ed25519, PS256, RS256"),
        (("retire",), "missing argument 'KID'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything(cli, arguments, message):
    done = cli("rotate-keys", *arguments)
    assert (done.code, done.out, done.err.splitlines()[0]) == (2, "", f"tokenctl: {message}")
    assert list(cli.home.iterdir()) == []


def test_of_two_at_once_one_works_and_the_other_finds_nothing_due(cli, published):
    code = (
        "import os, sys; from tokenctl.cli.boundary import run; "
        f"sys.exit(run(['rotate-keys'], environment=os.environ, program='tokenctl', now={T0 + 90 * DAY}))"
    )
    options = {"env": cli.env, "cwd": cli.home, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [subprocess.Popen([sys.executable, "-P", "-c", code], **options) for _ in range(6)]
    told = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert [code for _, _, code in told] == [0] * 6
    assert [err for _, err, _ in told] == [b""] * 6
    assert sorted(out.count(b"\n") for out, _, _ in told) == [0] * 5 + [1]
    assert states(cli) == ["active", "published"]
    assert len(kids(published)) == 2
    assert_sound(cli)


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_store_of_an_older_version_rotates(cli, version):
    issue(cli, T0)
    made_old(cli.store, version)
    done = cli.at(T0 + 90 * DAY, "rotate-keys", "--check")
    assert done.code == 3
    assert len(did(cli.at(T0 + 90 * DAY, "rotate-keys"))) == 1
    assert len(did(cli.at(T0 + 91 * DAY, "rotate-keys", "--unobserved"))) == 2
    made_old(cli.store, version)
    assert len(did(cli.at(T0 + 92 * DAY, "rotate-keys", "--compromised", kid_of(cli, "active")))[:2]) == 2
    assert_sound(cli)


# The published file


def test_a_key_that_the_file_lost_begins_its_time_anew_and_does_not_sign(cli, published):
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    first, second = kid_of(cli, "active"), kid_of(cli, "published")
    published.write_text('{"keys": []}')
    assert did(cli.at(now + DAY, "rotate-keys")) == [(second, "publish", "ES256")]
    assert kids(published) == [first, second]
    assert did(cli.at(now + 2 * DAY - 1, "rotate-keys")) == []
    assert did(cli.at(now + 2 * DAY, "rotate-keys"))[1] == (second, "activate", "ES256")
    assert_sound(cli)


def test_what_another_algorithm_writes_begins_the_time_of_a_lost_key_anew_too(cli, published):
    cli.at(T0 + 90 * DAY, "rotate-keys")
    lost = kid_of(cli, "published")
    published.unlink()
    now = T0 + 91 * DAY
    steps = did(cli.at(now, "rotate-keys", "--algorithm", "EdDSA"))
    assert steps == [(lost, "publish", "ES256"), ("-", "mend", "-"), (kid_of(cli, "published", "EdDSA"), "publish", "EdDSA")]
    assert lost in kids(published)
    assert did(cli.at(now, "rotate-keys")) == []
    assert_sound(cli)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"keys": 5}', '{"keys": [{"kid": "x"}]}', "\udcff", None])
def test_a_file_that_holds_something_else_is_mended(cli, published, text):
    if text is None:
        published.unlink()
    else:
        published.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert cli.at(T0, "rotate-keys", "--check").code == 3
    mended = cli.at(T0, "rotate-keys")
    told = f"warning: {published} held keys that are not this store's, taken out now: x{LEFT}\n"
    foreign = told if text and '"x"' in text else ""
    assert mended.err == foreign
    assert did(replace(mended, err="")) == [("-", "mend", "-")]
    assert kids(published) == [kid_of(cli, "active")]
    assert did(cli.at(T0, "rotate-keys")) == []
    assert published.read_text() == cli.at(T0, "rotate-keys", "jwks").out


def plant_link(path):
    path.unlink(missing_ok=True)
    path.symlink_to(path.parent.parent / "elsewhere")


def plant_hard_link(path):
    path.unlink(missing_ok=True)
    path.with_name("other").write_text("theirs")
    path.hardlink_to(path.with_name("other"))


def plant_fifo(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def take_the_folder(path):
    path.unlink(missing_ok=True)
    path.parent.rmdir()


@pytest.mark.parametrize("plant", [plant_link, plant_hard_link, plant_fifo, take_the_folder])
def test_where_the_file_cannot_be_written_nothing_is_published(cli, published, plant):
    plant(published)
    assert_refused(cli.at(T0 + 90 * DAY, "rotate-keys"), 9)
    assert states(cli) == ["active"]
    assert not (cli.home / "elsewhere").exists()
    assert issue(cli, T0 + 90 * DAY)  # the active key was published before
    assert_sound(cli)


@pytest.mark.parametrize(
    "place", [".config/tokenctl/keys/local", ".local/share/tokenctl/local/store.db", ".local/state/tokenctl/x"]
)
def test_the_file_is_none_of_our_own(cli, place):
    issue(cli, T0)
    before = cli.root_secret.read_bytes()
    configure(cli, f'jwks_file = "{cli.home}/{place}"\n')
    assert_refused(cli.at(T0 + 90 * DAY, "rotate-keys"), 9)
    assert cli.root_secret.read_bytes() == before
    assert states(cli) == ["active"]


@pytest.mark.skipif(sys.platform != "linux", reason="directories that nobody can write, not even root, are Linux's")
@pytest.mark.parametrize("place", ["/sys/jwks.json", "/proc/jwks.json", "/"])
def test_a_place_that_cannot_be_written_is_told(cli, place):
    issue(cli, T0)
    configure(cli, f'jwks_file = "{place}"\n')
    assert_refused(cli.at(T0 + 90 * DAY, "rotate-keys"), 9)
    assert states(cli) == ["active"]


def test_a_first_key_signs_nothing_that_could_not_be_published(cli):
    configure(cli, f'jwks_file = "{cli.home}/absent/jwks.json"\n')
    refused = cli.at(T0, "issue", "--subject", "s", *JWT)
    assert (refused.code, refused.out) == (9, "")
    assert rows(cli.store, "SELECT count(*) FROM token") == rows(cli.store, "SELECT count(*) FROM key") == [(0,)]
    (cli.home / "absent").mkdir()
    issue(cli, T0)
    assert kids(cli.home / "absent/jwks.json") == [kid_of(cli, "active")]


# The canary


def test_a_verifier_that_lacks_the_key_blocks_the_step_and_is_named(cli, published):
    now = T0 + 90 * DAY
    stale = cli.home / "stale.json"
    stale.write_text(published.read_text())
    cli.at(now, "rotate-keys")
    second = kid_of(cli, "published")
    with verifier(published) as good, verifier(stale) as bad:
        done = cli.at(now + DAY, "rotate-keys", "--verifier", good, "--verifier", bad)
        assert (done.code, done.out) == (6, "")
        assert done.err.splitlines()[0] == f"tokenctl: {second} (ES256) may not sign yet: {bad} does not have the key"
        assert states(cli) == ["active", "published"]
        configure(cli, f'jwks_file = "{published}"\nverifiers = ["{good}", "{bad}"]\n')
        blocked = cli.at(now + DAY, "rotate-keys", "-o", "json")
        assert blocked.code == 6
        document = blocked.json
        lacking = {"kid": second, "alg": "ES256", "verifier": bad, "detail": "does not have the key"}
        assert document["blocked_by"] == [lacking]
        assert (document["due"], document["next"]["kid"], document["did"]) == (True, second, [])
        assert json.loads(blocked.err)["reason"] == "verifier_lacks_key"
        told = cli.at(now + DAY, "rotate-keys", "status", "-o", "json").json
        assert told["blocked_by"] == document["blocked_by"]
        stale.write_text(published.read_text())
        assert did(cli.at(now + DAY, "rotate-keys"))[1] == (second, "activate", "ES256")
    assert_sound(cli)


def test_a_verifier_that_cannot_be_asked_blocks_too_and_unobserved_goes_without(cli, published):
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    configure(cli, f'jwks_file = "{published}"\nverifiers = ["http://127.0.0.1:1/jwks"]\n')
    done = cli.at(now + DAY, "rotate-keys")
    assert done.code == 6
    assert "http://127.0.0.1:1/jwks was not reached" in done.err
    assert cli.at(now + DAY, "rotate-keys", "--check").code == 3
    assert len(did(cli.at(now + DAY, "rotate-keys", "--unobserved"))) == 2


def test_a_look_asks_the_verifiers_and_tells_what_keeps_a_due_key_from_signing(cli, published):
    now = T0 + 90 * DAY
    stale = cli.home / "stale.json"
    stale.write_text(published.read_text())
    cli.at(now, "rotate-keys")
    second = kid_of(cli, "published")
    with verifier(published) as good, verifier(stale) as bad:
        asked = ("--verifier", good, "--verifier", bad)
        lacking = {"kid": second, "alg": "ES256", "verifier": bad, "detail": "does not have the key"}
        assert cli.at(now + DAY - 1, "rotate-keys", "--check", *asked, "-o", "json").json["blocked_by"] == []
        for look, code in (("--check", 3), ("-n", 0)):
            due = cli.at(now + DAY, "rotate-keys", look, *asked)
            told = f"blocked: {bad} does not have the key"
            assert (due.code, due.err) == (code, "")
            assert due.out == (f"{second}\tactivate\tES256\t{format_instant(now + DAY)}\t{told}\n")
            document = cli.at(now + DAY, "rotate-keys", look, *asked, "-o", "json")
            assert (document.code, document.json["blocked_by"], document.json["due"]) == (code, [lacking], True)
            (line,) = cli.at(now + DAY, "rotate-keys", look, *asked, "-o", "jsonl").lines
            assert line["blocked_by"] == [lacking]
        free = cli.at(now + DAY, "rotate-keys", "--check", "--verifier", good)
        assert (free.code, free.out.split("\t")[4]) == (3, "-\n")
        configure(cli, f'jwks_file = "{published}"\nverifiers = ["{bad}"]\n')
        assert cli.at(now + DAY, "rotate-keys", "--check", "-o", "json").json["blocked_by"] == [lacking]
        assert cli.at(now + DAY, "rotate-keys", "-n", "--unobserved", "-o", "json").json["blocked_by"] == []
    assert states(cli) == ["active", "published"]


def test_where_nobody_is_there_to_ask_every_form_says_so_and_the_publishing_warns(cli):
    issue(cli, T0)
    now = T0 + 90 * DAY
    made = cli.at(now, "rotate-keys", "-o", "json")
    second = kid_of(cli, "published")
    assert (made.code, made.err, made.json["warnings"]) == (0, "", [f"{second}{UNSEEN}"])
    nobody = {"kid": second, "alg": "ES256", "verifier": None, "detail": NOBODY}
    for command in (("--check",), ("-n",), (), ("status",)):
        done = cli.at(now + DAY, "rotate-keys", *command, "-o", "json")
        assert (done.code, done.json["blocked_by"]) == ({"--check": 3, "": 6}.get("".join(command), 0), [nobody])
    assert cli.at(now + DAY, "rotate-keys", "-n").out.endswith(f"\tblocked: {NOBODY}\n")
    refused = json.loads(cli.at(now + DAY, "rotate-keys", "-o", "json").err)
    assert (refused["reason"], refused["hint"]) == ("unobserved", NOBODY_HINT)


def test_every_key_that_is_blocked_is_named(cli):
    configure(cli, '[rotation]\nage = "1d"\n')
    issue(cli, T0)
    cli.at(T0, "rotate-keys", "--algorithm", "EdDSA")
    cli.at(T0 + DAY, "rotate-keys")
    waiting = {alg: kid_of(cli, "published", alg) for alg in ("ES256", "EdDSA")}
    now = T0 + 2 * DAY
    asked = ("--verifier", "http://127.0.0.1:1/jwks")
    text, document = cli.at(now, "rotate-keys", *asked), cli.at(now, "rotate-keys", *asked, "-o", "json")
    told = [
        f"{kid} ({alg}) may not sign yet: http://127.0.0.1:1/jwks was not reached: no connection" for alg, kid in waiting.items()
    ]
    lines = text.err.splitlines()
    assert (text.code, sorted(lines[:2]), len(lines)) == (6, sorted(f"tokenctl: {message}" for message in told), 3)
    assert lines[2].startswith("hint: ")
    error = json.loads(document.err)
    assert (document.code, sorted(error["message"].split("; "))) == (6, sorted(told))
    assert {(each["kid"], each["alg"]) for each in document.json["blocked_by"]} == {(kid, alg) for alg, kid in waiting.items()}


def test_status_asks_about_the_active_key_too(cli, published):
    first, now = kid_of(cli, "active"), T0 + 90 * DAY
    stale = cli.home / "stale.json"
    stale.write_text(published.read_text())
    cli.at(now, "rotate-keys")
    second = kid_of(cli, "published")
    with verifier(published) as good, verifier(stale) as bad:
        asked = ("status", "--verifier", good, "--verifier", bad)
        document = cli.at(now, "rotate-keys", *asked, "-o", "json").json
        told = [(each["verifier"], each["kid"], each["holds"]) for each in document["verifiers"]]
        assert told == [(good, first, True), (bad, first, True), (good, second, True), (bad, second, False)]
        assert set(document["verifiers"][0]) == {"kid", "alg", "verifier", "detail", "holds", "asked_at", "cached_until"}
        lacking = {"kid": second, "alg": "ES256", "verifier": bad, "detail": "does not have the key"}
        assert document["blocked_by"] == [lacking]
        piped = cli.at(now, "rotate-keys", *asked)
        assert (piped.code, piped.out) == (0, cli.at(now, "rotate-keys", "status").out)
        assert piped.err == f"warning: {bad} does not have the key (published ES256 {second})\n"
        lines = cli.at(now, "rotate-keys", *asked, "-o", "jsonl").lines
        assert [line["next"]["action"] for line in lines] == ["retiring", "activate"]
        assert [line["blocked_by"] for line in lines] == [[lacking], [lacking]]
        assert [len(line["verifiers"]) for line in lines] == [2, 2]
        stale.write_text('{"kids": []}')
        gone = cli.at(now, "rotate-keys", *asked).err
        assert f"warning: {bad} does not have the key (active ES256 {first})\n" in gone


def test_the_next_step_of_a_key_with_a_successor_is_to_stop(cli, published):
    first, now = kid_of(cli, "active"), T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    told = {line.split("\t")[0]: line.split("\t")[5] for line in cli.at(now, "rotate-keys", "status").out.splitlines()}
    assert told == {
        first: f"retiring {format_instant(now + DAY)}",
        kid_of(cli, "published"): f"activate {format_instant(now + DAY)}",
    }
    document = cli.at(now, "rotate-keys", "status", "-o", "json").json
    assert (document["next"]["action"], document["next"]["kid"]) == ("activate", kid_of(cli, "published"))


def test_a_key_is_followed_at_once_when_that_is_asked_for_and_by_one_alone(cli, published):
    first = kid_of(cli, "active")
    assert (
        cli.at(T0, "rotate-keys", "retire", first)
        .err.splitlines()[1]
        .endswith("tokenctl rotate-keys --algorithm ES256 --if-older-than 0s")
    )
    assert [step[1] for step in did(cli.at(T0, "rotate-keys", "--algorithm", "ES256", "--if-older-than", "0s"))] == ["publish"]
    assert did(cli.at(T0, "rotate-keys", "--if-older-than", "0s")) == []
    configure(cli, f'jwks_file = "{published}"\n[rotation]\npublication = "0s"\n')
    assert [step[1] for step in did(cli.at(T0, "rotate-keys", "--if-older-than", "0s"))] == ["retiring", "activate"]
    assert [step[1] for step in did(cli.at(T0, "rotate-keys", "--if-older-than", "0s"))] == ["publish", "retiring", "activate"]
    assert_sound(cli)


def test_every_instant_of_a_document_is_told_to_the_second(cli, published):
    now = T0 + 90 * DAY + 345
    made = cli.at(now, "rotate-keys", "-o", "json").json
    assert made["did"][0]["at"] == format_instant(now - 345)
    document = cli.at(now, "rotate-keys", "status", "-o", "json").json
    assert document["next"]["at"] == format_instant(now + DAY + 655)  # never before it is due
    assert "." not in json.dumps(document["keys"]) + json.dumps(document["next"])


# Back, and the end


def test_a_rollback_lets_the_old_key_sign_and_swaps_again(cli):
    issue(cli, T0)
    assert_refused(cli.at(T0, "rotate-keys", "rollback"), 6)
    now = T0 + 91 * DAY
    cli.at(now - DAY, "rotate-keys")
    cli.at(now, "rotate-keys", "--unobserved")
    new, old = kid_of(cli, "active"), kid_of(cli, "retiring")
    assert did(cli.at(now, "rotate-keys", "rollback")) == [(new, "retiring", "ES256"), (old, "roll_back", "ES256")]
    assert kid_of(cli, "active") == old
    assert did(cli.at(now, "rotate-keys")) == []
    done = cli.at(now, "rotate-keys", "rollback", "-o", "json")
    assert [(step["kid"], step["action"]) for step in done.json["did"]] == [(old, "retiring"), (new, "roll_back")]
    assert kid_of(cli, "active") == new
    assert_refused(cli.at(now, "rotate-keys", "rollback", "--algorithm", "EdDSA"), 6)
    cli.at(now + HOUR, "rotate-keys")
    assert_refused(cli.at(now + HOUR, "rotate-keys", "rollback"), 6)
    assert_sound(cli)


def test_where_several_algorithms_could_go_back_one_is_named(cli):
    configure(cli, '[rotation]\nage = "1d"\npublication = "0s"\n')
    issue(cli, T0)
    cli.at(T0, "rotate-keys", "--algorithm", "EdDSA", "--unobserved")
    cli.at(T0 + DAY, "rotate-keys", "--unobserved")
    assert sorted(states(cli)) == ["active", "active", "retiring", "retiring"]
    refused = cli.at(T0 + DAY, "rotate-keys", "rollback")
    assert_refused(refused, 2)
    assert "ES256, EdDSA" in refused.err
    assert did(cli.at(T0 + DAY, "rotate-keys", "rollback", "--algorithm", "EdDSA"))[1][1:] == ("roll_back", "EdDSA")
    assert_sound(cli)


def test_a_key_retires_by_name_when_no_token_needs_it(cli):
    token = issue(cli, T0, "--ttl", "2h")
    first = kid_of(cli, "active")
    now = T0 + HOUR
    refused = cli.at(now, "rotate-keys", "retire", first)
    assert (refused.code, refused.err.splitlines()[0]) == (6, f"tokenctl: {first} is the active key of ES256")
    cli.at(now, "rotate-keys", "--if-older-than", "1h")
    second = kid_of(cli, "published")
    assert did(cli.at(now, "rotate-keys", "retire", second)) == [(second, "retire", "ES256")]
    cli.at(now, "rotate-keys", "--if-older-than", "1h")
    cli.at(now + DAY - 23 * HOUR, "rotate-keys", "--if-older-than", "1h")
    configure(cli, '[rotation]\npublication = "0s"\n')
    cli.at(now, "rotate-keys", "--unobserved")
    refused = cli.at(now, "rotate-keys", "retire", first, "-o", "json")
    assert (refused.code, refused.out) == (6, "")
    error = json.loads(refused.err)
    assert error["reason"] == "key_needed"
    assert error["message"] == f"tokens that {first} signed are valid until {format_instant(T0 + 2 * HOUR)} (in 1h)"
    assert cli.at(now, "inspect", "-", "-q", "--any-audience", input=token).code == 0
    assert cli.at(now, "revoke", rows(cli.store, "SELECT id FROM token")[0][0], "--yes", "-q").code == 0
    assert did(cli.at(now, "rotate-keys", "retire", first)) == [(first, "retire", "ES256")]
    assert did(cli.at(now, "rotate-keys", "retire", first)) == []
    unknown = cli.at(now, "rotate-keys", "retire", UNKNOWN)
    assert_refused(unknown, 5)
    place = "profile local (local, ~/.local/share/tokenctl/local/store.db)"
    assert unknown.err == f"tokenctl: no key {UNKNOWN} in {place}\nhint: tokenctl rotate-keys status\n"
    assert_sound(cli)


def test_the_private_part_of_an_ended_key_lies_in_no_file(cli, published):
    configure(cli, f'jwks_file = "{published}"\n[rotation]\nage = "1d"\npublication = "0s"\ngrace = "0s"\n')
    sealed: dict[object, bytes] = {}
    for number in range(1, 5):
        cli.at(T0 + number * DAY, "rotate-keys")
        sealed |= {kid: bytes(part) for kid, part in rows(cli.store, "SELECT kid, sealed FROM key WHERE sealed IS NOT NULL")}
    cli.at(T0 + 5 * DAY, "rotate-keys", "--compromised", kid_of(cli, "active"))
    assert len(sealed) == 4
    for path in (cli.store, cli.store.with_name("store.db-wal")):
        data = path.read_bytes()
        assert not [kid for kid, part in sealed.items() if part[-48:] in data or part[:32] in data], path
    assert rows(cli.store, "SELECT count(*) FROM key WHERE sealed IS NOT NULL") == [(1,)]


def test_a_reader_that_keeps_the_private_part_of_an_ended_key_in_the_log_is_warned_of(cli):
    issue(cli, T0)
    gone = kid_of(cli, "active")
    with database(cli.store) as reader:
        reader.execute("BEGIN; SELECT count(*) FROM key").fetchall()
        done = cli.at(T0, "rotate-keys", "--compromised", gone)
        assert done.code == 0
        told = "what was the private part of %s, sealed, lies in the store's log until the last other process closes the store"
        assert done.err == f"warning: {told % gone}\n"
        reader.execute("ROLLBACK")


def test_a_clock_that_was_corrected_holds_no_key_up(cli):
    cli.at(T0, "issue", "--subject", "s", "-q")
    ahead = T0 + 400 * DAY
    issue(cli, ahead)
    cli.at(ahead + 90 * DAY, "rotate-keys")
    assert states(cli) == ["active", "published"]
    first, second = kid_of(cli, "active"), kid_of(cli, "published")
    now = T0 + DAY
    assert cli.at(now, "store", "accept-clock", "--yes", "-q").code == 0
    assert did(cli.at(now, "rotate-keys")) == [(second, "publish", "ES256")]
    assert did(cli.at(now, "rotate-keys")) == []
    assert did(cli.at(now + DAY, "rotate-keys", "--unobserved")) == [(first, "retiring", "ES256"), (second, "activate", "ES256")]
    assert_sound(cli)


# A key that leaked


def test_a_compromised_key_denies_all_that_it_signed_and_a_fresh_one_signs(cli, published):
    tokens = [issue(cli, T0, "--owner", owner, "--ttl", "2h") for owner in ("bob", "alice", "bob")]
    gone, now = kid_of(cli, "active"), T0 + MINUTE
    preview = cli.at(now, "rotate-keys", "--compromised", gone, "-n")
    assert (preview.code, states(cli)) == (0, ["active"])
    assert preview.out.splitlines()[:2] == [
        f"{gone}\tcompromise\tES256\t{format_instant(now)}\twould be compromised",
        f"-\trenew\tES256\t{format_instant(now)}\twould be made, and sign",
    ]
    assert cli.at(now, "rotate-keys", "--compromised", gone, "-n", "-o", "json").json["dry_run"] is True
    done = cli.at(now, "rotate-keys", "--compromised", gone)
    fresh, at = kid_of(cli, "active"), format_instant(now)
    ((user,),) = rows(cli.store, "SELECT owner FROM token WHERE owner NOT IN ('alice', 'bob')")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{gone}\tcompromise\tES256\t{at}\t-", f"{fresh}\tactivate\tES256\t{at}\t-", f"-\tmend\t-\t{at}\t{published}",
        "tokens\t4",
        "owner\tbob\t2", "owner\talice\t1", f"owner\t{user}\t1", "forged\tunknown: what was signed elsewhere is in no record",
        f"offline_until\t{format_instant(T0 + 2 * HOUR)}",
    ]  # fmt: skip
    assert kids(published) == [fresh]
    for token in tokens:
        assert cli.at(now, "inspect", "-", "-q", "--any-audience", input=token).code == 3
    again = cli.at(now, "rotate-keys", "--compromised", gone, "-o", "json")
    assert (again.code, again.json["did"]) == (0, [])
    told = again.json["compromised"]
    assert (told["kid"], told["tokens"], told["replaced_by"], told["forged"]) == (gone, 4, fresh, None)
    assert [(key["state"], key["tokens"]) for key in again.json["keys"]] == [("compromised", 0), ("active", 0)]
    assert told["owners"][0] == {"owner": "bob", "tokens": 2}
    assert cli.at(now, "inspect", "-", "-q", "--any-audience", input=issue(cli, now)).code == 0
    assert_refused(cli.at(now, "rotate-keys", "--compromised", UNKNOWN), 5)
    assert_sound(cli)


def test_whatever_a_key_is_it_can_be_compromised(cli):
    configure(cli, '[rotation]\nage = "1d"\ngrace = "0s"\n')
    issue(cli, T0)
    first = kid_of(cli, "active")
    cli.at(T0 + DAY, "rotate-keys")
    cli.at(T0 + 2 * DAY, "rotate-keys", "--unobserved")
    assert states(cli) == ["retired", "active"]
    cli.at(T0 + 3 * DAY, "rotate-keys")
    steps = did(cli.at(T0 + 3 * DAY, "rotate-keys", "--compromised", kid_of(cli, "published")))
    assert (steps[0][1], steps[1]) == ("compromise", ("tokens", "0"))
    cli.at(T0 + 3 * DAY, "rotate-keys")
    beside = kid_of(cli, "published")
    steps = did(cli.at(T0 + 3 * DAY, "rotate-keys", "--compromised", kid_of(cli, "active")))[:3]
    # The private part of the successor lay beside it.
    assert [step[1] for step in steps] == ["compromise", "retire", "activate"]
    assert steps[1][0] == beside
    assert did(cli.at(T0 + 3 * DAY, "rotate-keys", "--compromised", first))[0] == (first, "compromise", "ES256")
    assert sorted(states(cli)) == ["active", "compromised", "compromised", "compromised", "retired"]
    assert_sound(cli)


def test_verifiers_are_watched_until_they_drop_the_key(cli, published):
    gone = kid_of(cli, "active")
    stale = cli.home / "stale.json"
    stale.write_text(published.read_text())
    with verifier(published) as quick, verifier(stale) as slow:
        options = ("--verifier", quick, "--verifier", slow, "--timeout", "1s")
        done = cli.at(T0, "rotate-keys", "--compromised", gone, *options)
        assert done.code == 11
        lines = [line.split("\t") for line in done.out.splitlines() if line.startswith("verifier")]
        assert [line[1:3] for line in lines] == [[quick, "dropped"], [slow, "not dropped"]]
        assert done.err.splitlines()[0].endswith(f"may still be accepted: {slow} still has the key")
        stale.write_text(published.read_text())
        done = cli.at(T0, "rotate-keys", "--compromised", gone, *options, "-o", "json")
    assert done.code == 0
    assert [(told["gone"], told["waited_ms"] < 1000) for told in done.json["compromised"]["verifiers"]] == [(True, True)] * 2


def test_a_compromised_key_that_stays_published_is_not_done(cli, published):
    gone = kid_of(cli, "active")
    plant_link(published)
    done = cli.at(T0, "rotate-keys", "--compromised", gone)
    assert done.code == 11
    assert done.err.splitlines()[0].startswith(f"tokenctl: what {gone} signed may still be accepted: ")
    assert states(cli) == ["compromised", "active"]
    published.unlink()
    assert cli.at(T0, "rotate-keys", "--compromised", gone).code == 0
    assert kids(published) == [kid_of(cli, "active")]


def test_in_quarantine_a_key_is_denied_and_the_fresh_one_waits(cli, published):
    token = issue(cli, T0)
    gone = kid_of(cli, "active")
    change(cli.store, "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)")
    for command in ((), ("--check",), ("rollback",), ("retire", gone), ("--algorithm", "EdDSA")):
        assert_refused(cli.at(T0, "rotate-keys", *command), 10)
    done = cli.at(T0, "rotate-keys", "--compromised", gone)
    assert (done.code, done.out.splitlines()[0].split("\t")[:2]) == (10, [gone, "compromise"])
    assert done.err.splitlines()[0].startswith("tokenctl: no fresh key was made: the store is quarantined")
    assert kids(published) == []
    assert cli.at(T0, "inspect", "-", "-q", "--any-audience", input=token).code != 0
    assert cli.at(T0, "store", "release", "--reason", "test", "--yes", "-q").code == 0
    assert cli.at(T0, "issue", "--subject", "s", *JWT).code == 6
    assert [step[1] for step in did(cli.at(T0, "rotate-keys"))] == ["activate"]
    assert kids(published) == [kid_of(cli, "active")]
    issue(cli, T0)


def test_a_store_behind_its_anchor_brings_no_ended_key_back(cli, published):
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys", "--algorithm", "EdDSA")
    cli.at(now, "rotate-keys")
    old = cli.store.read_bytes()
    signing, other, gone = kid_of(cli, "active"), kid_of(cli, "published", "EdDSA"), kid_of(cli, "published")
    cli.at(now, "rotate-keys", "--compromised", gone)
    assert set(kids(published)) == {signing, other}
    cli.store.write_bytes(old)
    assert_refused(cli.at(now, "rotate-keys"), 10)
    assert cli.at(now, "rotate-keys", "--compromised", other).code == 10
    assert kids(published) == [signing]


def test_a_mistake_in_the_policy_keeps_nobody_from_denying_a_key(cli):
    issue(cli, T0)
    configure(cli, '[rotation]\nage = "soon"\n')
    assert_refused(cli.at(T0, "rotate-keys"), 9)
    for output in ((), ("-o", "json")):
        assert cli.at(T0, "rotate-keys", "--compromised", kid_of(cli, "active"), *output).code == 0
    assert states(cli).count("compromised") == 2


# What the log says of keys


def test_an_algorithm_that_signed_and_has_no_active_key_is_a_flaw(cli):
    issue(cli, T0)
    code = (
        "import os; from tokenctl import wiring; from tokenctl.backends.local import rotating; os.umask(0o077)\n"
        f"s = wiring.Surroundings(environment=os.environ, now={T0}, notice=print, warn=print, timeout=5)\n"
        "b = wiring.open_backend(None, s)\n"
        "with b.journal.changing() as change: rotating.stop(change, change.rows.every_key()[0].row)\n"
        "b.close()\n"
    )
    subprocess.run([*PROGRAM[:1], "-P", "-c", code], env=cli.env, check=True, timeout=60)
    done = cli.at(T0, "audit", "verify")
    assert done.code == 10
    assert "flaw: ES256 has no active key, its records say one\n" in done.out


def test_the_record_of_a_step_says_what_became_of_the_key(cli):
    configure(cli, '[rotation]\nage = "1d"\npublication = "0s"\ngrace = "0s"\n')
    issue(cli, T0)
    cli.at(T0 + DAY, "rotate-keys", "--unobserved")
    cli.at(T0 + DAY, "rotate-keys", "--compromised", kid_of(cli, "active"))
    log = cli("audit", "log", "-o", "json").json["records"]
    about = [record for record in log if record["operation"].startswith("key.")]
    told = [(record["operation"], record["outcome"], record["reason"]) for record in about]
    assert told == [
        ("key.create", "done", None), ("key.activate", "done", None), ("key.create", "done", None), ("key.publish", "done", None),
        ("key.retire", "retiring", None), ("key.activate", "done", None), ("key.retire", "retired", None),
        ("key.compromise", "done", "compromised"), ("key.create", "done", None), ("key.activate", "done", None),
    ]  # fmt: skip


# What the others call it, and what there is to read


def test_what_other_tools_call_rotate_names_both_verbs(cli):
    hint = "hint: tokenctl rotate-keys (signing keys) or tokenctl issue --replace ID (a token)"
    assert cli("rotate", "x").err.splitlines()[1].replace("python -m tokenctl", "tokenctl") == hint


@pytest.mark.parametrize(("verb", "code"), [("status", "9 "), ("jwks", "2 "), ("rollback", "6 "), ("retire", "5 ")])
def test_every_sub_verb_has_three_examples_and_exit_codes_of_its_own(cli, verb, code):
    text = cli("rotate-keys", verb, "--help").out
    examples = text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[:3] for line in examples] == [["tokenctl", "rotate-keys", verb]] * 3
    codes = text.partition("Exit codes:\n")[2]
    assert f"  {code}" in codes
    assert "--check: a step is due" not in codes


def test_an_algorithm_without_a_key_that_signs_names_the_command_that_publishes_one(cli):
    issue(cli, T0)
    refused = cli.at(T0, "issue", "--subject", "s", *JWT, "--algorithm", "EdDSA")
    assert (refused.code, "tokenctl rotate-keys --algorithm EdDSA" in refused.err) == (6, True)


# Rows that do not check out, and a clock that is known to be wrong


def damaged(cli, kid):
    change(cli.store, f"UPDATE key SET created_at = created_at + 1 WHERE kid = '{kid}'")


@pytest.mark.parametrize("which", ["its own", "a neighbour's"])
def test_a_damaged_row_keeps_nobody_from_denying_a_key(cli, published, which):
    token = cli.token("--format", "jwt", "--audience", "api")
    assert cli("rotate-keys", "--algorithm", "EdDSA").code == 0
    leaked = kid_of(cli, "active")
    damaged(cli, leaked if which == "its own" else kid_of(cli, "published", "EdDSA"))
    assert cli("rotate-keys").code == 10
    done = cli("rotate-keys", "--compromised", leaked)
    assert done.code == 10
    assert "no fresh key was made: the row of a signing key does not check out" in done.err
    assert rows(cli.store, f"SELECT state, sealed FROM key WHERE kid = '{leaked}'") == [("compromised", None)]
    assert leaked not in kids(published)
    assert cli("inspect", "-", "--any-audience", input=token).code in (3, 10)
    assert cli("issue", "--subject", "x", "--format", "jwt", "--audience", "api").code in (6, 10)


def test_a_row_that_is_gone_empties_no_file_and_makes_no_first_key_anew(cli, published):
    issue(cli, T0)
    before = published.read_bytes()
    change(cli.store, "DELETE FROM key")
    for arguments in (("rotate-keys",), ("rotate-keys", "--check"), ("rotate-keys", "jwks")):
        refused = cli.at(T0 + HOUR, *arguments)
        assert (refused.code, refused.out) == (10, ""), arguments
    assert cli.at(T0 + HOUR, "issue", "--subject", "x", "--format", "jwt", "--audience", "api").code == 10
    assert published.read_bytes() == before


def test_no_step_goes_by_a_clock_that_stands_behind_the_log(cli, published):
    issue(cli, T0)
    now = T0 + 90 * DAY
    assert len(did(cli.at(now, "rotate-keys"))) == 1
    other = cli.at(now, "issue", "--subject", "x", "-o", "json").json["id"]
    assert cli.at(now + 2 * DAY, "revoke", str(other), "--yes").code == 0  # a glitch
    early = cli.at(now + 10 * MINUTE, "rotate-keys")
    assert (early.code, early.out) == (7, "")
    assert "the clock stands" in early.err
    assert states(cli) == ["active", "published"]
    assert cli.at(now + 10 * MINUTE, "store", "accept-clock", "--reason", "ntp", "--yes").code == 0
    assert did(cli.at(now + 11 * MINUTE, "rotate-keys")) == []
    assert states(cli) == ["active", "published"]
    assert cli.at(now + 10 * MINUTE, "rotate-keys", "--compromised", kid_of(cli, "active")).code == 0
    assert_sound(cli)


def test_a_roll_back_whose_file_cannot_be_written_is_not_done_so_that_it_can_be_run_again(cli, published):
    issue(cli, T0)
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    cli.at(now + DAY, "rotate-keys")
    bad = kid_of(cli, "active")
    published.unlink()
    published.mkdir()
    for _ in range(2):
        assert cli.at(now + DAY + HOUR // 2, "rotate-keys", "rollback").code == 9
        assert kid_of(cli, "active") == bad
    published.rmdir()
    assert cli.at(now + DAY + HOUR // 2, "rotate-keys", "rollback").code == 0
    assert kid_of(cli, "active") != bad
    assert_sound(cli)


@pytest.mark.parametrize("spoil", ["utf-16", "bom", "twice", "mode"])
def test_a_file_that_a_strict_verifier_cannot_read_counts_as_none(cli, published, spoil):
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    text = published.read_text()
    if spoil == "mode":
        published.chmod(0o600)
    else:
        twice = b'{"keys":[],' + text[1:].encode()
        published.write_bytes({"utf-16": text.encode("utf-16"), "bom": text.encode("utf-8-sig"), "twice": twice}[spoil])
    assert did(cli.at(now + DAY, "rotate-keys")) == [(kid_of(cli, "published"), "publish", "ES256")]
    assert (published.read_text(), stat.S_IMODE(published.stat().st_mode)) == (text, 0o644)
    assert states(cli) == ["active", "published"]


@pytest.mark.parametrize("spoil", ["plain", "mode", "bom", "twice", "utf-16"])
@pytest.mark.parametrize("distrust", ["sealed", "a damaged row"])
def test_a_leaked_key_is_taken_out_of_a_file_that_no_strict_verifier_reads(cli, published, spoil, distrust):
    assert cli("rotate-keys", "--algorithm", "EdDSA").code == 0
    leaked = kid_of(cli, "active")
    if distrust == "sealed":
        assert cli("store", "seal", "--reason", "incident").code == 0
    else:
        damaged(cli, kid_of(cli, "published", "EdDSA"))
    text = published.read_text()
    made = {"bom": text.encode("utf-8-sig"), "twice": b'{"keys":[],' + text[1:].encode(), "utf-16": text.encode("utf-16")}
    published.write_bytes(made.get(spoil, text.encode()))
    published.chmod(0o600 if spoil == "mode" else 0o644)
    done = cli("rotate-keys", "--compromised", leaked)
    assert (done.code, "\tmend\t" in done.out) == (10, True)
    assert leaked.encode() not in published.read_bytes().replace(b"\0", b"")
    assert kids(published) == [kid_of(cli, "published", "EdDSA")]


@pytest.mark.parametrize("text", [None, "no set of keys"])
def test_a_store_that_is_not_trusted_puts_no_empty_set_where_none_was(cli, published, text):
    leaked = kid_of(cli, "active")
    assert cli("store", "seal", "--reason", "incident").code == 0
    published.unlink()
    if text is not None:
        published.write_text(text)
    assert cli("rotate-keys", "--compromised", leaked).code == 10
    assert (published.read_text() if published.exists() else None) == text


def test_a_key_that_stopped_ahead_of_a_clock_accepted_since_keeps_its_grace(cli, published):
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    assert len(did(cli.at(now + DAY, "rotate-keys"))) == 2  # by a clock that is a day ahead
    stopped = kid_of(cli, "retiring")
    assert cli.at(now, "store", "accept-clock", "--reason", "ntp", "--yes").code == 0
    done = did(cli.at(now + MINUTE, "rotate-keys"))
    assert [action for _, action, _ in done] == ["publish", "retiring"]  # the active one's age is not known either
    assert done[1][0] == stopped
    assert states(cli) == ["retiring", "active", "published"]
    assert did(cli.at(now + HOUR, "rotate-keys")) == []
    assert did(cli.at(now + HOUR + MINUTE, "rotate-keys"))[0] == (stopped, "retire", "ES256")
    assert_sound(cli)


def test_no_key_is_retired_by_name_by_a_clock_that_stands_behind_the_log(cli, published):
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    issue(cli, now + HOUR, "--ttl", "24h")
    assert len(did(cli.at(now + DAY, "rotate-keys"))) == 2
    other = str(cli.at(now + DAY, "issue", "--subject", "x", "--ttl", "24h", "-o", "json").json["id"])
    assert cli.at(now + 9 * DAY, "revoke", other, "--yes").code == 0  # a glitch
    refused = cli.at(now + DAY + MINUTE, "rotate-keys", "retire", kid_of(cli, "retiring"))
    assert (refused.code, refused.out) == (7, "")
    assert states(cli) == ["retiring", "active"]


def test_a_key_retired_while_the_file_cannot_be_written_may_still_be_accepted(cli, published):
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    assert len(did(cli.at(now + DAY, "rotate-keys"))) == 2
    old = kid_of(cli, "retiring")
    assert cli.at(now + DAY, "rotate-keys", "--if-older-than", "0s").code == 0  # a published one, which the file loses
    published.unlink()
    published.mkdir()
    (published / "x").touch()
    done = cli.at(now + DAY + 2 * HOUR, "rotate-keys")
    assert (done.code, (old, "retire") in [tuple(line.split("\t")[:2]) for line in done.out.splitlines()]) == (11, True)
    assert f"what {old} signed may still be accepted" in done.err


def test_of_two_roll_backs_at_once_one_works(cli, published):
    now = T0 + 90 * DAY
    cli.at(now, "rotate-keys")
    assert len(did(cli.at(now + DAY, "rotate-keys"))) == 2
    before = kid_of(cli, "retiring")
    with waiting(cli, "store.lock", "rotate-keys", "rollback", then=[("rotate-keys", "rollback")]) as done:
        pass
    assert [result.code for result in done] == [0, 6]
    assert "another key became active meanwhile" in done[1].err
    assert kid_of(cli, "active") == before
    assert cli("rotate-keys", "rollback").code == 0  # on purpose, forward again
    assert kid_of(cli, "active") != before


@pytest.mark.parametrize("option", ["--compromised", "--algorithm", "--if-older-than"])
def test_an_empty_value_is_no_absent_one(cli, published, option):
    before = cli.root_secret.read_bytes()
    for arguments in (("--root", option, ""), (option, "")):
        refused = cli("rotate-keys", *arguments)
        assert (refused.code, refused.out) == (2, ""), arguments
    assert cli.root_secret.read_bytes() == before
    assert states(cli) == ["active"]


def test_a_dry_run_foresees_no_first_key_where_a_row_is_gone(cli, published):
    change(cli.store, "DELETE FROM key")
    assert cli("issue", "--subject", "x", *JWT, "--dry-run").code == 10


# Others that write the published file


def test_a_key_that_somebody_put_into_the_file_is_taken_out_and_told(cli, published):
    own = published.read_text()
    (key,) = json.loads(own)["keys"]
    published.write_text(json.dumps({"keys": [key, key | {"kid": "evil"}, key | {"kid": "\x1b[2J"}, {}]}))
    done = cli("rotate-keys", "-o", "json")
    assert (done.code, done.json["warnings"]) == (
        0,
        [f"{published} held keys that are not this store's, taken out now: evil" + 2 * ", one without a usual kid" + LEFT],
    )
    assert published.read_text() == own
    assert cli("rotate-keys", "-o", "json").json["warnings"] == []


def test_two_profiles_have_no_file_in_common(cli, published):
    linked = cli.home / "linked"
    linked.symlink_to(published.parent)
    for path in (published, linked / "jwks.json"):
        refused = cli("profile", "add", "other", "--jwks-file", str(path))
        assert (refused.code, refused.out) == (6, "")
        assert "profile local writes its keys there" in refused.err
    assert cli("profile", "add", "local", "--jwks-file", str(published)).code == 0
    other = cli.home / ".config/tokenctl/profiles/other.toml"
    other.write_text(f'jwks_file = "{published}"\n')
    other.chmod(0o600)
    published.parent.chmod(0o777)
    told = {line.split("\t")[2] for line in cli("doctor").out.splitlines() if line.startswith("warn\tkeys\t")}
    assert "profile other has the same jwks_file: each run takes out the other's keys" in told
    assert f"{published.parent} can be written by other users" in told
    published.parent.chmod(0o1777)
    assert f"{published.parent} can be written" not in cli("doctor").out
