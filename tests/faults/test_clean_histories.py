"""Two hundred histories in which nobody tampered: whatever happened in them, no check raises an alarm.

Each is a random walk through what the program does, with clocks that jump, keys and root secrets that change, backups that
return, and programs that are killed. The seed of a history that fails stands in the failure.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands.backups import AgeKey, age_key
from tests.conftest import Result
from tests.faults.conftest import database, in_memory, rows, under_strace
from tests.inprocess import InProcess

HISTORIES, PARTS, KILLED, STEPS = 200, 4, 4, 7
HOUR, DAY = 3_600_000, 86_400_000
SEED = int(os.environ.get("TOKENCTL_TEST_SEED") or random.SystemRandom().randrange(10**9))
_ANSWERS = (0, 2, 3, 5, 6, 11, 12)  # a no is an answer; what does not check out, fails or waits is none
_CALLS = {"pwrite64": 10, "fdatasync": 3, "rename": 1, "flock": 3, "fcntl": 30, "ftruncate": 1}


class Head(NamedTuple):
    """A checkpoint that was kept outside."""

    path: str
    size: int


class History:
    """A store, what was kept of it elsewhere, and what was done to it."""

    def __init__(self, folder: Path, rng: random.Random, key: AgeKey) -> None:
        self.cli = InProcess(folder / "home")
        self.rng = rng
        self.key = key
        self.told: list[str] = []
        self.codes: Counter[int] = Counter()
        self.heads: list[Head] = []
        self.backups: list[tuple[str, list[Head]]] = []
        self.archives: list[tuple[str, str]] = []  # each with its hash
        self.tokens: list[str] = []
        self.number = 0
        self._folder = folder
        self.cli.ahead = -40 * DAY  # it begins in the past, so that time can pass

    def __call__(self, *arguments: str, codes: tuple[int, ...] = _ANSWERS, input: str | None = None) -> Result:
        self.told.append(" ".join(arguments))
        done = self.cli(*arguments, input=input)
        assert done.code in codes, f"{self} {done}"
        self.codes[done.code] += 1
        return done

    def __str__(self) -> str:
        return "\n".join([f"TOKENCTL_TEST_SEED={SEED}, {self._folder.name}:", *self.told, ""])

    def file(self, ending: str) -> str:
        self.number += 1
        return str(self._folder / f"{self.number}.{ending}")

    def identifier(self) -> str:
        """One of the tokens; some of them have ended."""
        return self.rng.choice([str(row[0]) for row in rows(self.cli.store, "SELECT id FROM token ORDER BY id")])

    # What may happen

    def issue(self) -> None:
        more: list[str] = []
        if self.rng.random() < 0.4:
            more += ["--max-uses", str(self.rng.randrange(1, 4))]
        if self.rng.random() < 0.3:
            more += ["--request-id", f"r{self.rng.randrange(4)}"]
        if self.rng.random() < 0.3 and self.tokens:
            more += ["--parent", self.identifier()]
        ttl = self.rng.choice(["5m", "1h", "12h"])
        done = self("issue", "--subject", f"s{self.rng.randrange(3)}", "--scope", "a", "--ttl", ttl, *more, "-q")
        if done.code == 0:
            self.tokens.append(done.out.strip())

    def jwt(self) -> None:
        algorithm = self.rng.choice(["ES256", "EdDSA"])
        done = self("issue", "--subject", "j", "--format", "jwt", "--audience", "a", "--algorithm", algorithm, "-q")
        self.tokens += [done.out.strip()] * (done.code == 0)

    def bulk(self) -> None:
        self("issue", "--subject", "many", "--count", str(self.rng.randrange(2, 8)), "--request-id", f"b{self.number}", "-q")
        self.number += 1

    def denied(self) -> None:
        self("issue", "--subject", "greedy", "--ttl", "900d")

    def revoke(self) -> None:
        if self.rng.random() < 0.2:
            self("revoke", "--subject", f"s{self.rng.randrange(3)}", "--yes", "-q")
        else:
            self("revoke", self.identifier(), "--reason", "test", "--ticket", "T-1", "--yes", "-q")

    def suspend(self) -> None:
        terms = self.rng.choice([(), ("--for", "2h", "--then", "lift"), ("--for", "30m", "--then", "revoke")])
        self("revoke", self.identifier(), "--suspend", *terms, "--yes", "-q")

    def lift(self) -> None:
        chosen = self.identifier()
        self("revoke", chosen, "--suspend", "--yes", "-q")
        self.rng.choice([self.issue, self.pass_time, self.look])()
        self("revoke", chosen, "--lift", "--yes", "-q")

    def use(self) -> None:
        self.tokens.append(self("issue", "--subject", "used", "--max-uses", "2", "-q").out.strip())
        for token in self.rng.choices(self.tokens, k=2) + self.tokens[-1:]:
            self("inspect", "-", "--use", "--any-audience", "-q", input=token)

    def replace(self) -> None:
        grace = self.rng.choice(["1m", "1h"])
        self("issue", "--replace", self.identifier(), "--grace", grace, "-q")

    def rotate_keys(self) -> None:
        self("rotate-keys", "--if-older-than", "0s", "--unobserved", "-q")

    def compromise(self) -> None:
        self.jwt()
        kids = rows(self.cli.store, "SELECT kid FROM key ORDER BY kid")
        if kids:
            self("rotate-keys", "--compromised", str(self.rng.choice(kids)[0]), "-q")

    def rotate_root(self) -> None:
        self("rotate-keys", "--root", "-q")
        self.backups.clear()  # those hold the former secret, and need no more than that to be refused

    def checkpoint(self) -> None:
        path = self.file("checkpoint")
        self.keep(path, self("audit", "checkpoint", "-o", "json"))

    def rotate_log_key(self) -> None:
        done = self("rotate-keys", "--log-key", "-o", "json")
        if done.code == 0:
            self.keep(self.file("checkpoint"), done)

    def keep(self, path: str, done: Result) -> None:
        Path(path).write_text(str(done.json["note"]))
        self.heads.append(Head(path, int(str(done.json["size"]))))

    def seal(self) -> None:
        self("store", "seal", "--reason", "r")
        sealed = self("audit", "verify", "-o", "json", codes=(10,))
        assert (sealed.json["verdict"], len(sealed.json["flaws"])) == ("SEALED", 1), f"{self} {sealed}"
        self("store", "release", "--reason", "r", "--yes", "-q")

    def back_up(self) -> None:
        path = self.file("age")
        self("store", "backup", path, "--recipient", self.key.recipient, "-q")
        self.backups.append((path, list(self.heads)))

    def restore(self) -> None:
        if not self.backups:
            self.back_up()
            self.issue()
        path, heads = self.rng.choice(self.backups)
        kept = self.rng.choice([(), (), ("--keep-active",)])
        self("store", "restore", path, "--identity", self.key.path, *kept, "--yes", "-q")
        self.heads = list(heads)  # the others tell of records that the restoring gave up
        self.backups = [(each, known) for each, known in self.backups if len(known) <= len(heads)]

    def archive(self) -> None:
        path = self.file("archive")
        self("audit", "archive", "--before", self.rng.choice(["now", "-5m", "-1d"]), "--out", path, "--yes", "-q")
        if os.path.exists(path):
            self.archives.append((path, hashlib.sha256(Path(path).read_bytes()).hexdigest()))

    def correct_clock(self) -> None:
        before, ahead = self.cli.ahead, self.rng.choice([HOUR, 3 * DAY, 400 * DAY])
        self.cli.ahead += ahead
        self.rng.choice([self.issue, self.revoke, self.checkpoint, self.housekeeping])()
        self.cli.ahead = before
        self("store", "accept-clock", "--yes", "-q")

    def pass_time(self) -> None:
        self.cli.ahead = min(0, self.cli.ahead + self.rng.choice([1000, 61_000, HOUR, DAY]))

    def housekeeping(self) -> None:
        self("list", "-q")

    def lose_anchor(self) -> None:
        self.told.append("the anchor is lost")
        self.cli.anchor.unlink(missing_ok=True)

    def lose_verified(self) -> None:
        self.told.append("what was verified is forgotten")
        self.cli.anchor.with_name("verified").unlink(missing_ok=True)

    def look(self) -> None:
        """A check in between, from which later ones go on."""
        self("audit", "verify", *self.rng.choice([(), ("--quick",), ("--full",), ("--state",)]), "-q")

    def die(self) -> None:
        """The program is killed before a random system call; the next one finds what it left."""
        self.cli.ahead = 0
        commands = [
            ("issue", "--subject", "k", "-q"), ("audit", "checkpoint"), ("rotate-keys", "--log-key"), ("rotate-keys", "--root"),
            ("revoke", self.identifier(), "--yes", "-q"), ("audit", "verify", "-q"), ("audit", "verify", "--quick", "-q"),
            ("issue", "--subject", "k", "--format", "jwt", "--audience", "a", "-q"), ("list", "-q"),
        ]  # fmt: skip
        command = self.rng.choice(commands)
        name = self.rng.choice(list(_CALLS))
        number = self.rng.randrange(1, _CALLS[name] + 1)
        self.told.append(f"killed before {name} {number}: {' '.join(command)}")
        died = under_strace(self.cli, [f"trace={name}", f"inject={name}:signal=KILL:when={number}"], *command)
        assert died.code in (0, 5, -signal.SIGKILL), f"{self} {died}"
        self.codes[died.code] += 1

    def check(self) -> None:
        """No mode raises an alarm, with and without every head that was kept."""
        known = [part for head in self.heads for part in ("--known-head", head.path)]
        for options in (("--state",), ("--quick",), ("--full",), (), ("--quick",)):
            kept = self.rng.choice([(), known])
            self._sound(self("audit", "verify", *options, *kept, "-o", "json"), bool(kept))
        told = {row[0] for row in rows(self.cli.store, "SELECT target FROM record WHERE operation = 'log.archive'")}
        archives = [part for path, digest in self.archives if digest in told for part in ("--archive", path)]
        if archives:  # a restore gives up the others, and has their bodies again
            whole = self._sound(self("audit", "verify", *archives, "-o", "json"), False)
            assert whole["archived"] == 0, str(self)
        if not self.heads:
            unmet = self("audit", "verify", "--require-anchor", "-o", "json", codes=(10,)).json
            assert (unmet["verdict"], unmet["flaws"]) == ("UNANCHORED", []), f"{self} {unmet}"
            return
        told = self._sound(self("audit", "verify", "--require-anchor", *known, "-o", "json"), True)
        assert [(one["source"], one["size"], one["agrees"]) for one in told["anchors"]] == [(*head, True) for head in self.heads]
        one = self.rng.choice(self.heads)
        told = self._sound(self("audit", "verify", "--quick", "--known-head", one.path, "-o", "json"), True)
        assert told["rewritable"] == told["records"] - one.size, str(self)

    def _sound(self, done: Result, outside: bool) -> dict[str, object]:
        told: dict[str, object] = done.json
        expected = ("OK",) if outside else ("OK (anchored locally only)", "UNANCHORED")
        assert (told["verdict"] in expected, told["flaws"]) == (True, []), f"{self} {told}"
        assert rows(self.cli.store, "SELECT quarantine FROM head") == [(None,)], str(self)
        return told


_OFTEN = [
    "issue", "jwt", "bulk", "revoke", "suspend", "lift", "use", "replace", "rotate_keys", "checkpoint", "checkpoint",
    "rotate_log_key", "pass_time", "look", "issue", "denied", "rotate_root", "seal", "back_up", "restore", "correct_clock",
    "housekeeping", "archive", "lose_anchor", "lose_verified", "compromise",
]  # fmt: skip
# An archive is not among them: in a short history it may find nothing that has ended.
_EXPECTED = {
    "token.issue", "token.deny", "token.revoke", "token.suspend", "token.lift", "token.replace", "token.use", "key.create",
    "key.activate", "key.compromise",
    "store.create", "store.backup", "store.restore", "store.rotate_root", "store.clock", "store.seal",
    "store.release", "log.rotate_key",
}  # fmt: skip


@pytest.mark.parametrize("part", range(PARTS))
def test_no_clean_history_raises_an_alarm(part, tmp_path):
    with in_memory(tmp_path) as folder:
        _walk(part, folder)


def _walk(part: int, parent: Path) -> None:
    key, codes = age_key(parent), Counter[int]()
    seen: set[str] = set()
    deck: list[str] = []
    for number in range(part, HISTORIES, PARTS):
        rng = random.Random(f"{SEED}-{number}")
        folder = parent / str(number)
        folder.mkdir()
        history = History(folder, rng, key)
        history.issue()
        for step in range(STEPS):
            if not deck:  # everything has its turn, in whatever order
                deck = rng.sample(_OFTEN, len(_OFTEN))
            getattr(history, "die" if number < KILLED * PARTS and step in (2, 5) else deck.pop())()
        history.check()
        with database(history.cli.store) as connection:
            seen |= {str(row[0]) for row in connection.execute("SELECT DISTINCT operation FROM record")}
        codes += history.codes
    assert codes[0] > 0.8 * codes.total(), codes
    assert codes[-signal.SIGKILL] > 0, codes
    assert _EXPECTED - seen == set()
