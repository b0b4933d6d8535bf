"""Every record of a day's work, replayed by a script that knows nothing but the documentation, gives the same root."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

from tests.commands.backups import age_key
from tests.conftest import Cli, Result
from tokenctl.model.record import OPERATIONS

SCRIPT = Path(__file__).with_name("replay_log.py")
MORNING = 1_795_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
RULE = '[[rule]]\nname = "ci"\nsubject = "ci-*"\nkinds = ["access"]\nscopes = ["deploy:*"]\n'
# What a day of one operator with a file for a root secret, and no service elsewhere, does not do.
NOT_DONE = {"store.move_secret", "key.roll_back", "token.reveal_failed"}
# What only a profile of a remote service records.
NOT_DONE |= {"remote.intent", "remote.outcome", "credential.rotate", "credential.revoke"}


class Clerk:
    """Works through a day, a minute for each command."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.now = MORNING

    def do(self, *arguments: str, code: int = 0, input: str = "") -> Result:
        self.now += MINUTE
        done = self.cli.at(self.now, *arguments, input=input)
        assert done.code == code, (arguments, done)
        return done

    def issue(self, *arguments: str) -> str:
        done = self.do("issue", "--subject", "ci-deployer", "--scope", "deploy:write", "-q", *arguments)
        return done.out.strip()


def _tokens(clerk: Clerk) -> None:
    uses = clerk.issue("--ttl", "8h", "--max-uses", "3", "--note", "naïve \u202e \" \\ note", "--label", "team=βeta")
    clerk.do("inspect", "-", "--use", "-q", input=uses)
    parent = clerk.cli.id_of(clerk.issue("--ttl", "20h", "--request-id", "R-1"))
    child = clerk.cli.id_of(clerk.issue("--parent", parent, "--ttl", "1h"))
    clerk.do("issue", "--subject", "bulk-α", "--count", "5", "-q")
    rows = '{"subject": "row-1", "request_id": "a"}\n{"subject": "row-2", "request_id": "b", "ttl": "2h"}\n'
    clerk.do("issue", "--from", "-", "-q", input=rows)
    clerk.do("issue", "--subject", "greedy", "--ttl", "25h", code=12)
    clerk.do("issue", "--replace", parent, "--grace", "30m", "-q")
    clerk.do("revoke", child, "--suspend", "--for", "10m", "--then", "lift", "--yes", "-q")
    clerk.do("revoke", child, "--lift", "--yes", "-q")
    clerk.do("revoke", child, "--reason", "compromised", "--ticket", "INC-7 \N{SNOWMAN}", "--note", "n", "--yes", "-q")
    clerk.do("revoke", "--subject", "bulk-α", "--dry-run", "--out", "plan.json")
    clerk.do("revoke", "--plan", "plan.json", "--yes", "-q")
    clerk.do("issue", "--subject", "child", "-q", "--", sys.executable, "-c", "pass")


def _keys(clerk: Clerk) -> None:
    clerk.do("issue", "--subject", "j", "--format", "jwt", "--audience", "api", "-q")
    clerk.do("rotate-keys", "--if-older-than", "1s", "--unobserved")
    clerk.now += 25 * HOUR
    clerk.do("rotate-keys", "--unobserved")
    active = next(key["kid"] for key in clerk.do("rotate-keys", "status", "-o", "json").json["keys"] if key["state"] == "active")
    clerk.do("rotate-keys", "--compromised", active)
    clerk.now += 8 * DAY
    clerk.do("rotate-keys", "--unobserved")
    clerk.do("rotate-keys", "--root", "-q")


def _store(clerk: Clerk, recipient: str, identity: str) -> None:
    clerk.do("store", "backup", "day.age", "--recipient", recipient, "-q")
    clerk.issue("--ttl", "1h")
    clerk.do("store", "restore", "day.age", "--identity", identity, "--yes", "-q")
    clerk.do("store", "backup", "evening.age", "--recipient", recipient, "-q")  # the record of the first one is lost with it
    clerk.do("store", "seal", "--reason", "drill", "-q")
    clerk.do("store", "release", "--reason", "over", "--yes", "-q")
    clerk.now += HOUR
    clerk.issue()
    clerk.now -= HOUR
    clerk.do("store", "accept-clock", "--reason", "an hour ahead", "--yes")
    profile = clerk.cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700, exist_ok=True)
    profile.write_text(RULE)
    profile.chmod(0o600)
    clerk.issue()
    clerk.do("audit", "checkpoint")
    clerk.do("rotate-keys", "--log-key")


def _replayed(data: bytes) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-I", str(SCRIPT)], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done
    count, root = done.stdout.decode().split()
    return int(count), root


def test_the_script_is_short_and_knows_nothing_of_tokenctl():
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 50
    assert [line for line in lines if line.startswith(("import ", "from "))] == ["import hashlib", "import json", "import sys"]


def test_a_days_work_is_replayed_to_the_root_that_verify_and_the_checkpoint_tell(cli, tmp_path):
    clerk, key = Clerk(cli), age_key(tmp_path)
    _tokens(clerk)
    _keys(clerk)
    _store(clerk, key.recipient, key.path)
    size, root, note = _heads(clerk)
    raw = clerk.do("audit", "log", "--raw").out.encode()
    assert _replayed(raw) == (size, root)
    clerk.do("audit", "archive", "--before", "1d", "--out", "day.archive", "--yes", "-q")
    after, new_root, _ = _heads(clerk)
    rest = clerk.do("audit", "log", "--raw", code=11)
    archive = (cli.home / "day.archive").read_bytes()
    moved = archive.count(b"\n") - 2
    assert moved > 10
    assert rest.err == f"{moved} bodies lie in archives and not in the store: tokenctl-log(5) tells how to add them\n"
    assert _replayed(rest.out.encode() + archive) == (after, new_root)
    # The log only grew: its beginning is still what the first checkpoint says.
    bodies = sorted((rest.out.encode() + archive).split(b"\n"), key=_number)
    assert _replayed(b"\n".join(body for body in bodies if 0 < _number(body) <= size)) == (size, root)
    assert base64.b64decode(note.split("\n")[2]).hex() == root
    operations = {record["operation"] for record in clerk.do("audit", "log", "-o", "jsonl").lines}
    assert set(OPERATIONS) - operations == NOT_DONE


def _number(line: bytes) -> int:
    found = re.search(rb'"seq":([0-9]+),"subject"', line)
    return int(found[1]) if found else 0


def _heads(clerk: Clerk) -> tuple[int, str, str]:
    """Return size and root as verify tells them, and the checkpoint, which says the same."""
    note = clerk.do("audit", "checkpoint").out
    told = clerk.do("audit", "verify", "-o", "json").json
    lines = note.split("\n")
    assert (int(lines[1]), base64.b64decode(lines[2]).hex()) == (told["records"], told["root"])
    return int(lines[1]), str(told["root"]), note
