"""The recipe of README for an auditor: every line runs, the auditor's in a home without a store, and a lie is found."""

from __future__ import annotations

import json
import shlex

from tests.conftest import Cli
from tests.test_readme import TEXT

EXAMPLE_ID = "0352Ldy4SKzRSvwVvSWvL6"


def recipe() -> list[str]:
    block = TEXT.partition("<!-- auditor -->\n```sh\n")[2].partition("```")[0]
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def test_an_auditor_is_convinced_by_files(cli, tmp_path):
    auditor = Cli(tmp_path / "auditor")
    auditor.home.mkdir(mode=0o700)
    token = cli.id_of(cli.token("--label", "team=payments"))
    assert cli("revoke", token, "--reason", "leaked", "--ticket", "INC-4711", "--yes", "-q").code == 0
    lines = recipe()
    assert len(lines) == 7
    ran = {}
    for line in lines:
        command, _, target = line.partition(" > ")
        words = shlex.split(command.replace(EXAMPLE_ID, token))
        assert words.pop(0) == "tokenctl"
        if "VKEY" in words:
            words[words.index("VKEY")] = (cli.home / "log.vkey").read_text().rstrip("\n")
            words[words.index("--proof") + 1] = str(cli.home / words[words.index("--proof") + 1])
        done = (auditor if "--key" in words and "verify" in words else cli)(*words)
        assert done.code == 0, (line, done)
        if target:
            (cli.home / target).write_text(done.out)
        ran[line] = done.out
    proved, handed = (out for line, out in ran.items() if "VKEY" in line)
    assert "INC-4711" in proved
    assert 'parameters: {"note":null}' in proved
    former, _, present = handed.splitlines()[3].split("\t")[6].partition(" to ")
    assert former == (cli.home / "log.vkey").read_text().rstrip("\n")
    assert present == cli("audit", "checkpoint", "--key").out.rstrip("\n")
    assert [path.name for path in auditor.home.iterdir()] == []

    # Another log with the same story convinces nobody who has the key.
    liar = Cli(tmp_path / "liar")
    liar.home.mkdir(mode=0o700)
    other = liar.id_of(liar.token())
    assert liar("audit", "show", other, "--proof", "--out", "p").code == 0
    told = auditor("audit", "verify", "--proof", str(liar.home / "p"), "--key", former, "-o", "json")
    assert (told.code, told.json["verdict"]) == (10, "INVALID")
    assert json.dumps(told.json["flaws"]).startswith('["the checkpoint is of another log than the key')
