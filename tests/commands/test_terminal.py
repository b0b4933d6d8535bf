"""What a person meets at a terminal: next steps, questions, what is pasted and not echoed."""

from __future__ import annotations

import re
import shlex
import time

import pexpect
import pytest

from tokenctl.model.identifier import new_id

PATIENCE = 30  # seconds


@pytest.fixture
def at_terminal(cli):
    """Run a shell line at a terminal of its own; ``tokenctl`` in it is the real program."""
    import sys

    def run(line: str, *, columns: int = 120, **env: str) -> pexpect.spawn:
        script = f'tokenctl() {{ {shlex.quote(sys.executable)} -m tokenctl "$@"; }}; {line}'
        return pexpect.spawn(
            "bash", ["--norc", "-c", script], env=cli.env | {"TERM": "xterm", "NO_COLOR": "1"} | env, cwd=str(cli.home),
            dimensions=(40, columns), timeout=PATIENCE, encoding="utf-8",
        )  # fmt: skip

    return run


def ended(child: pexpect.spawn) -> tuple[int | None, str]:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before.replace("\r\n", "\n")


def test_issue_tells_the_next_steps_on_a_terminal_and_cuts_nothing(at_terminal):
    code, screen = ended(at_terminal("tokenctl issue --subject ci --scope deploy:write", columns=60))
    assert code == 0
    notice, token, issued, whom, look, kill, end = screen.split("\n")
    identifier = token.split("_")[2]
    assert notice == "notice: made a store; root secret: ~/.config/tokenctl/keys/local (0600)"
    assert len(token) == 79
    assert issued.startswith(f"issued  {identifier}  access, opaque, until ")
    assert whom == "for     ci, scope deploy:write, profile local"
    assert look.endswith(f" inspect {identifier}")
    assert kill.endswith(f" revoke {identifier}")
    assert end == ""


@pytest.mark.parametrize("place", ["file", "credential"])
def test_store_info_fits_eighty_columns_and_stays_aligned(cli, at_terminal, tmp_path, place):
    cli.token()
    secret = "~/.config/tokenctl/keys/local"
    if place == "credential":
        folder = tmp_path / "credentials"
        folder.mkdir(mode=0o700)
        (folder / "tokenctl.local.root").write_text(cli.root_secret.read_text())
        (folder / "tokenctl.local.root").chmod(0o400)
        cli.env["CREDENTIALS_DIRECTORY"] = str(folder)
        assert cli("store", "move-secret", "credential", "-q").code == 0
        secret = "the systemd credential tokenctl.local.root"
    code, screen = ended(at_terminal("tokenctl store info", columns=80))
    rows = screen.splitlines()
    assert (code, max(map(len, rows))) == (0, 80)
    assert f"root_secret     {secret}, version 1" in rows
    assert all(re.fullmatch(r"[a-z_]+ {2,}", row[:16]) and row[16] != " " for row in rows), rows


def test_a_replacement_tells_how_long_the_old_token_goes_on_and_what_ends_with_it(cli, at_terminal):
    old = cli("issue", "--subject", "ci", "--format", "jwt", "--audience", "a", "--ttl", "3h", "-o", "json").json["id"]
    for _ in range(2):
        cli.token("--parent", old, "--audience", "a", "--ttl", "1h")
    code, screen = ended(at_terminal(f"tokenctl issue --replace {old} --grace 1h"))
    assert code == 0
    _, issued, whom, until, children, claims, offline, look, _, _ = screen.split("\n")
    assert re.fullmatch(r"issued  \w{22}  access, jwt, until \d\d:\d\d:\d\dZ \(3h\)", issued)
    assert whom == "for     ci, no scope: it grants nothing, profile local"
    assert re.fullmatch(
        rf"old     {old}  goes on until \d\d:\d\d:\d\dZ \(in (1h|59m 5\ds)\), or the first inspect --use of the new one", until
    )  # fmt: skip
    assert children == "old     its 2 children die with it"
    assert claims == "new     has the claims that were given now: those of the old one are not stored"
    assert re.fullmatch(r"old     verifiers that do not ask accept it until \d\d:\d\d:\d\dZ", offline)
    assert look.endswith(f" inspect {issued.split()[1]}")
    _, screen = ended(at_terminal(f"tokenctl issue --replace {issued.split()[1]} --grace 0s"))
    assert f"\nold     {issued.split()[1]}  not accepted any more\n" in screen


@pytest.mark.parametrize("answer", ["n\n", "\n", "yeah\n", "\x04"])
def test_anything_but_yes_revokes_nothing(cli, at_terminal, answer):
    identifier = cli.id_of(cli.token())
    child = at_terminal(f"tokenctl revoke {identifier}")
    child.expect_exact("Revoke 1 token at local? [y/N] ")
    child.send(answer)
    code, screen = ended(child)
    assert code == 2
    assert "not confirmed: nothing was revoked" in screen
    assert cli("inspect", identifier, "-q").code == 0


def test_yes_revokes(cli, at_terminal):
    identifier = cli.id_of(cli.token())
    child = at_terminal(f"tokenctl revoke {identifier} --reason test")
    child.expect_exact("[y/N] ")
    child.send("y\n")
    code, screen = ended(child)
    assert code == 0
    assert re.search(rf"{identifier}  revoked +was active; denied, checked after \d+ ms", screen)
    assert cli("inspect", identifier, "-q").code == 3


def test_more_than_twenty_are_confirmed_by_their_number(cli, at_terminal):
    for _ in range(21):
        cli.token()
    child = at_terminal("tokenctl revoke --subject someone")
    child.expect_exact("and 1 more")
    child.expect_exact("Revoke 21 tokens at local? type 21 to go on: ")
    child.send("y\n")
    assert ended(child)[0] == 2
    child = at_terminal("tokenctl revoke --subject someone")
    child.expect_exact("type 21 to go on: ")
    child.send("21\n")
    assert ended(child)[0] == 0
    assert cli("list").out == ""


def test_a_pipe_into_revoke_leaves_the_keyboard_for_the_question(cli, at_terminal):
    identifier = cli.id_of(cli.token())
    child = at_terminal("tokenctl list | tokenctl revoke -")
    child.expect_exact("[y/N] ")
    child.send("y\n")
    assert ended(child)[0] == 0
    assert cli("inspect", identifier, "-q").code == 3


@pytest.mark.parametrize(("option", "env"), [("--no-input", {}), ("", {"CI": "1"})])
def test_no_question_is_asked_where_none_may_be(cli, at_terminal, option, env):
    identifier = cli.id_of(cli.token())
    code, screen = ended(at_terminal(f"tokenctl revoke {identifier} {option}", **env))
    assert code == 2
    assert "not confirmed" in screen
    assert "[y/N]" not in screen


def test_what_is_pasted_is_not_echoed_has_no_length_limit_and_the_terminal_is_put_back(cli, at_terminal):
    token = cli.token("--format", "jwt", "--audience", "a", "--claim", f'long="{"x" * 6000}"')
    child = at_terminal("tokenctl inspect - --audience a; echo code $?; stty -a")
    child.expect_exact("paste, then Ctrl-D")
    child.expect_exact("\n")
    for start in range(0, len(token), 1000):
        child.send(token[start : start + 1000])
    child.send("\n\x04")
    _, screen = ended(child)
    assert "active, 14m" in screen
    assert "code 0" in screen
    assert token[100:200] not in screen
    assert re.search(r"(?<!-)\becho\b", screen)
    assert re.search(r"(?<!-)\bicanon\b", screen)


@pytest.mark.parametrize("asked", ["audit log --token -", "audit show -"])
def test_a_token_that_is_asked_about_is_not_echoed(cli, at_terminal, asked):
    token = cli.token()
    child = at_terminal(f"tokenctl {asked}", columns=200)
    child.expect_exact("paste, then Ctrl-D")
    child.expect_exact("\n")
    child.send(f"{token}\n\x04")
    code, screen = ended(child)
    assert code == 0
    assert cli.id_of(token) in screen
    assert token[-30:] not in screen


def test_a_token_is_asked_for_without_echo_where_none_is_named(cli, at_terminal):
    token = cli.token()
    child = at_terminal("tokenctl inspect")
    child.expect_exact("Token (not shown): ")
    child.send(f"{token}\n")
    code, screen = ended(child)
    assert code == 0
    assert cli.id_of(token) in screen
    assert token not in screen


def test_a_list_at_a_terminal_stops_at_fifty_and_says_so(cli, at_terminal):
    assert cli("issue", "--subject", "first").code == 0
    code = (
        "import os, time; from tokenctl.cli.boundary import run; now = time.time_ns() // 10**6\n"
        "for _ in range(50): assert run(['issue', '--subject', 'n', '-q'], environment=os.environ, program='t', now=now) == 0"
    )
    import subprocess
    import sys

    subprocess.run([sys.executable, "-P", "-c", code], env=cli.env, stdout=subprocess.DEVNULL, check=True, timeout=120)
    _, screen = ended(at_terminal("tokenctl list"))
    lines = screen.splitlines()
    assert lines[0].startswith("ID ")
    assert len([line for line in lines if re.match(r"[0-9A-Za-z]{22}  active", line)]) == 50
    assert re.match(r"50 tokens, profile local; more follow: --after [0-9A-Za-z]{22}$", lines[-1])


def test_hostile_text_reaches_no_terminal_raw(cli, at_terminal):
    cli("issue", "--subject", "\x1b]0;owned\x07\x1b[31m\u202e[red]x\n\t", "-q")
    for verb in ("list", "audit log"):
        _, screen = ended(at_terminal(f"tokenctl {verb}"))
        assert not set(screen) & {"\x1b", "\x07", "\u202e"}
        assert "\\x1b]0;owned" in screen


def test_colour_is_for_terminals_that_want_it(cli, at_terminal):
    identifier = cli.id_of(cli.token())
    assert "\x1b[32mactive" in ended(at_terminal(f"tokenctl inspect {identifier}", NO_COLOR=""))[1]
    assert "\x1b" not in ended(at_terminal(f"tokenctl inspect {identifier}"))[1]
    assert "\x1b" not in cli("inspect", identifier).out
    assert "\x1b[32mactive" in cli("inspect", identifier, env={"FORCE_COLOR": "1"}).out


def test_an_unknown_id_named_at_a_terminal_is_told_in_the_preview(cli, at_terminal):
    identifier = cli.id_of(cli.token())
    child = at_terminal(f"tokenctl revoke {identifier} {new_id(0)}")
    child.expect_exact("unknown here")
    child.expect_exact("2 named, 1 to revoke")
    child.send("y\n")
    assert ended(child)[0] == 5


def test_accepting_a_clock_is_asked_with_what_it_ends(cli, at_terminal):
    identifier = cli.id_of(cli.token("--ttl", "1h"))
    cli.at(time.time_ns() // 1_000_000 + 86_400_000, "issue", "--subject", "early", "-q")
    child = at_terminal("tokenctl store accept-clock")
    child.expect(r"the clock stands 23h 59m behind the last record")
    child.expect_exact("2 tokens will be revoked: ended by the time of the last record, or issued ahead of the clock")
    child.expect_exact("Go on from this clock? [y/N] ")
    child.send("n\n")
    code, screen = ended(child)
    assert (code, "not confirmed: nothing was accepted" in screen) == (2, True)
    assert cli("issue", "--subject", "s").code == 7
    child = at_terminal("tokenctl store accept-clock")
    child.expect_exact("[y/N] ")
    child.send("y\n")
    code, screen = ended(child)
    assert code == 0
    assert re.search(r"accepted: the log goes on from \S+Z; 2 tokens revoked\n", screen)
    assert "audit log --request-id" in screen
    assert cli("inspect", identifier, "-q").code == 3
    assert cli("issue", "--subject", "s").code == 0


def test_doctor_prints_a_mend_below_its_finding(cli, at_terminal):
    cli.token()
    cli.root_secret.chmod(0o644)
    code, screen = ended(at_terminal("tokenctl doctor"))
    assert code == 9
    lines = screen.splitlines()
    assert lines[0] == "FAIL  access        ~/.config/tokenctl/keys/local is open to other users"
    assert lines[1] == f"      mend          chmod 600 {cli.root_secret}"
    assert re.fullmatch(r"\d+ ok, \d+ warnings?, 1 failed", lines[-1])


def test_store_info_is_readable_at_a_terminal(cli, at_terminal):
    cli.token()
    code, screen = ended(at_terminal("tokenctl store info"))
    assert code == 0
    assert re.search(r"^created_at +\S+Z, \d+s ago$", screen, re.MULTILINE)
    assert re.search(r"^file_size +\d+\.\d KiB$", screen, re.MULTILINE)


def test_the_next_steps_at_a_terminal_are_on_the_profile_of_the_run(cli, at_terminal):
    cli("profile", "add", "staging")
    _, screen = ended(at_terminal("tokenctl -p staging issue --subject ci --scope deploy:write"))
    look, kill = screen.splitlines()[-2:]
    identifier = look.split()[-1]
    assert look.endswith(f"tokenctl -p staging inspect {identifier}")
    assert kill.endswith(f"tokenctl -p staging revoke {identifier}")
    _, screen = ended(at_terminal("tokenctl -p staging revoke --subject ci --dry-run --out plan.json"))
    assert screen.splitlines()[-1].endswith("tokenctl -p staging revoke --plan plan.json")
    _, screen = ended(at_terminal("tokenctl revoke --subject ci --yes", TOKENCTL_PROFILE="staging"))
    assert "tokenctl -p staging audit log --request-id " in screen.splitlines()[-1]
    _, screen = ended(at_terminal(f"tokenctl -p staging inspect {identifier}"))
    assert screen.splitlines()[-1].endswith(f"tokenctl -p staging audit show {identifier}")
    _, screen = ended(at_terminal("tokenctl -p staging issue --subject ci --count 2"))
    assert "tokenctl -p staging revoke --batch " in screen.splitlines()[-1]


def test_the_log_at_a_terminal_names_who_and_why_before_whom(cli, at_terminal):
    subject = "a-subject-that-is-rather-long"
    identifier = cli.id_of(cli("issue", "--subject", subject, "-q").out)
    cli("revoke", identifier, "--reason", "test", "--ticket", "INC-4711", "--yes")
    code, screen = ended(at_terminal("tokenctl audit log --operation token.revoke", columns=200))
    actor = cli("audit", "log").out.splitlines()[0].split("\t")[4]
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
    assert code == 0
    assert re.fullmatch(rf"{moment}  token.revoke    {identifier}  {actor}, test, INC-4711, {subject}", screen.splitlines()[0])
    assert cli("revoke", identifier, "--dry-run", "--suspend", "--out", "plan").code in (0, 3)
    other = cli.id_of(cli.token())
    assert cli("revoke", other, "--dry-run", "--out", "other").code == 0
    assert cli("audit", "checkpoint", "-q").code == 0
    _, screen = ended(at_terminal("tokenctl audit log", columns=80))
    lines = screen.splitlines()[:-1]
    assert max(map(len, lines)) <= 80
    assert {line.index(actor) for line in lines} == {62}  # whatever the operation and what it is about


def test_the_life_of_a_token_is_told_with_every_fact(cli, at_terminal):
    done = cli("issue", "--subject", "s", "--scope", "a", "--scope", "b", "--audience", "x", "--request-id", "r-1", "-o", "json")
    identifier = str(done.json["id"])
    cli("revoke", identifier, "--reason", "test", "--ticket", "INC-4711", "--yes")
    issued, revoked = cli("audit", "show", identifier, "-o", "jsonl").lines
    code, screen = ended(at_terminal(f"tokenctl audit show {identifier}", columns=200))

    def moment(text: object) -> str:
        return str(text)[:19].replace("T", " ") + "Z"

    def block(record: dict[str, object], *more: str) -> list[str]:
        actor = record["actor"]
        assert isinstance(actor, dict)
        return [
            f"{moment(record['time'])}  {record['operation']}  0s ago",
            f"  record    {record['seq']}",
            f"  target    {identifier}",
            f"  by        {in_words(actor)}",
            "  subject   s",
            f"  owner     {record['owner']}",
            "  kind      access",
            "  format    opaque",
            "  scope     a b",
            "  audience  x",
            f"  expires   {moment(record['expires_at'])}",
            *more,
            f"  request   {record['request_id']}",
        ]

    def in_words(actor: dict[str, object]) -> str:
        told = [f"{actor['name']}@{actor['host']}, uid {actor['uid']}"]
        told += [f"logged in as uid {actor['loginuid']}"] if actor["loginuid"] is not None else []
        asserted = f"sudo from uid {actor['sudo_uid']} (asserted by the environment)"
        told += [asserted] if actor["sudo_uid"] is not None else []
        told += [f"machine {str(actor['machine'])[:12]} (hashed)"] if actor["machine"] is not None else []
        return ", ".join([*told, "profile local"])

    by = in_words(dict(issued["actor"]))
    assert code == 0
    lines = [re.sub(r"[0-9]+s ago", "0s ago", line) for line in screen.splitlines()]
    assert re.fullmatch(r"  expires   .*   in 14m [0-9]+s", lines.pop(4))
    assert lines == [
        f"token {identifier}: revoked 0s ago (test, INC-4711)",
        f"  made      {moment(issued['time'])}   0s ago by {by}",
        "  rights    access, opaque; scope a b; audience x",
        f"  subject   s; owner {issued['owner']}",
        "  used      never seen by this store; uses 0",
        f"  revoked   {moment(revoked['time'])}   0s ago by {by}; test, INC-4711",
        "",
        *block(issued), f"  policy    {str(issued['policy'])[:12]}",
        *block(revoked, "  reason    test", "  ticket    INC-4711"),
    ]  # fmt: skip


def test_a_preview_says_until_when_a_jwt_may_be_accepted_offline(cli, at_terminal):
    made = cli("issue", "--subject", "gw", "--format", "jwt", "--audience", "a", "-o", "json").json
    child = at_terminal(f"tokenctl revoke {made['id']}", columns=80)
    child.expect_exact("[y/N] ")
    line = next(line for line in child.before.splitlines() if line.startswith(str(made["id"])))
    assert re.fullmatch(rf"{made['id']}  active, 14m +gw +offline until {str(made['expires_at'])[11:16]}", line)
    child.send("n\n")
    ended(child)
    assert cli("revoke", str(made["id"]), "--yes", "--reason", "test").code == 0
    other = cli.id_of(cli.token())
    child = at_terminal(f"tokenctl revoke {made['id']} {other}", columns=80)
    child.expect_exact("[y/N] ")
    line = next(line for line in child.before.splitlines() if line.startswith(str(made["id"])))
    assert re.fullmatch(rf"{made['id']}  revoked before +gw +by [^@]+, \d\d:\d\d", line)


def test_rotate_keys_tells_a_person_what_comes_next(cli, at_terminal):
    nothing = "nothing due, and nothing to come: the first JWT makes the first key\n"
    assert ended(at_terminal("tokenctl rotate-keys")) == (0, nothing)
    cli.token("--format", "jwt", "--audience", "a")
    kid = cli("rotate-keys", "status").out.split("\t")[0]
    code, screen = ended(at_terminal("tokenctl rotate-keys", columns=200))
    assert code == 0
    assert re.fullmatch(r"next: publish a new ES256 key at \d{4}-\d\d-\d\dT\S+Z, in 89d 23h; nothing due now\n", screen)
    code, screen = ended(at_terminal("tokenctl rotate-keys status"))
    head, row, following, end = screen.split("\n")
    assert (code, end) == (0, "")
    assert head.split() == ["KID", "ALG", "STATE", "SINCE", "TOKENS", "NEXT"]
    assert re.fullmatch(rf"{kid}  ES256  active  \ds ago +1  publish in 89d", row)
    assert following.startswith("next: publish a new ES256 key at ")
    code, screen = ended(at_terminal(f"tokenctl rotate-keys --compromised {kid}"))
    assert code == 0
    assert screen.startswith(f"{kid}  compromise  ES256\n")
    assert "tokens          1\n" in screen
    code, screen = ended(at_terminal("tokenctl rotate-keys status", columns=200))
    assert screen.split("\n")[-2] == (
        "private parts of retired keys are destroyed here; backups made before still hold them until they age out"
    )
    for count, told in ((1, "so does 1 store"), (2, "so do 2 stores")):
        cli.store.with_name(f"store.db.replaced-{count}-0123abcd").touch()
        code, screen = ended(at_terminal("tokenctl rotate-keys status", columns=200))
        last = " ".join(screen.split("\n")[-3:]).split("; ")[-1].strip()
        assert last == (
            "backups made before still hold them until they age out, "
            f"and {told} kept from before a restore: python -m tokenctl doctor"
        )


def test_the_keys_fit_a_terminal_of_80_columns_and_what_is_longer_breaks_between_words(cli, at_terminal):
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(mode=0o700, parents=True)
    url = "http://127.0.0.1:1/the/set/of/keys.json"
    profile.write_text(f'verifiers = ["{url}"]\n')
    for path in (profile, profile.parent, profile.parent.parent, profile.parent.parent.parent):
        path.chmod(0o600 if path is profile else 0o700)
    cli.token("--format", "jwt", "--audience", "a")
    assert cli("rotate-keys", "--if-older-than", "0s").code == 0
    _, gone = (line.split("\t")[0] for line in cli("rotate-keys", "status").out.splitlines())
    assert cli("rotate-keys", "--compromised", gone, "--timeout", "1s").code == 11
    assert cli("rotate-keys", "--if-older-than", "0s").code == 0
    active, _, published = (line.split("\t")[0] for line in cli("rotate-keys", "status").out.splitlines())
    code, screen = ended(at_terminal("tokenctl rotate-keys status", columns=80))
    lines = screen.splitlines()
    assert (code, lines[0]) == (0, f"{'KID':<22}  ALG    STATE        SINCE   TOKENS  NEXT")
    assert re.fullmatch(rf"{active}  ES256  active       \ds ago       1  retiring in 23h", lines[1])
    assert re.fullmatch(rf"{gone}  ES256  compromised  \ds ago       0  -", lines[2])
    assert re.fullmatch(rf"{published}  ES256  published    \ds ago       0  activate in 23h", lines[3])
    assert lines[4].startswith(f"next: activate {published} at ")
    told = " ".join(line.strip() for line in lines[6:10])
    assert told.startswith(f"verifier: {url} was not reached: no connection (active ES256 {active})")
    code, talk = ended(at_terminal("tokenctl rotate-keys", columns=60))
    assert (code, talk.count("\n")) == (0, 2)
    for line in (*lines, *talk.splitlines()):
        assert len(line) <= (80 if line in lines else 60)
    words = set(f"{screen} {talk}".split())
    assert {published, "verifier:", f"{url}", "(active", "due", "destroyed"} <= words


def test_what_changes_nothing_or_writes_a_file_is_said_at_a_terminal(cli, at_terminal):
    cli.token("--format", "jwt", "--audience", "a")
    assert cli("rotate-keys", "--if-older-than", "0s").code == 0
    (kid,) = (line.split("\t")[0] for line in cli("rotate-keys", "status").out.splitlines() if "\tpublished\t" in line)
    assert cli("rotate-keys", "retire", kid).code == 0
    code, screen = ended(at_terminal(f"tokenctl rotate-keys retire {kid}"))
    assert (code, screen.splitlines()[0]) == (0, f"{kid} is retired already")
    code, screen = ended(at_terminal("tokenctl rotate-keys jwks --out jwks.json"))
    assert (code, screen) == (0, "wrote 1 key to jwks.json\n")
