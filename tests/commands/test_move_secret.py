"""``store move-secret``, and what becomes of every verb where the root secret is in a keyring or a credential."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from tests.conftest import PROGRAM, Cli
from tests.secret_service import session

KEYRINGS = Path(__file__).parents[1] / "keyrings"
UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
NEEDS_THE_SECRET = [
    ("issue", "--subject", "s"),
    ("inspect", UNKNOWN),
    ("list",),
    ("revoke", UNKNOWN, "--yes"),
    ("rotate-keys", "status"),
    ("rotate-keys", "jwks"),
    ("rotate-keys", "--root"),
    ("audit", "log"),
    ("audit", "show", UNKNOWN),
    ("audit", "verify"),
    ("store", "info"),
    ("store", "release", "--reason", "r", "--yes"),
    ("store", "accept-clock", "--yes"),
    ("store", "move-secret", "file"),
    ("doctor",),
]
REMEDY = (
    "hint: unlock the keyring, or run this in the session that has it; for cron move the secret to a file there: "
    "python -m tokenctl store move-secret file\n"
)
STAYS = "the root secret stays in ~/.config/tokenctl/keys/local"


@pytest.fixture(scope="module")
def desktop(tmp_path_factory):
    """A session whose keyring is open."""
    with session(tmp_path_factory.mktemp("desktop")) as started:
        yield started


@pytest.fixture
def kept(cli):
    """A profile that admits the keyring of the tests; its file is empty yet."""
    profile = cli.home / ".config/tokenctl/profiles/local.toml"
    profile.parent.mkdir(parents=True, mode=0o700)
    profile.write_text('keyring_backend = "kept.Kept"\n')
    profile.chmod(0o600)
    cli.env |= {"PYTHONPATH": str(KEYRINGS), "KEPT": str(cli.home / "kept.json")}
    return cli


def tree(folder: Path) -> dict[str, bytes]:
    """Every file but the index of the log, in which readers note themselves."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")}


def items(cli: Cli) -> dict[str, str]:
    path = cli.home / "kept.json"
    return json.loads(path.read_text()) if path.exists() else {}


def out_of_reach(own: object, cause: str) -> str:
    return f"the root secret, the keyring's item local.root/{own}, is out of reach: {cause}"


def place(cli: Cli, **env: str) -> object:
    return cli("store", "info", "-o", "json", env=env).json["root_secret_place"]


def store_id(cli: Cli) -> object:
    return cli("store", "info", "-o", "json").json["store_id"]


# A real keyring


def test_a_secret_moves_to_the_keyring_and_back_and_everything_goes_on(cli, desktop):
    token, own = cli.token(), store_id(cli)
    text = cli.root_secret.read_text().strip()
    with cli.root_secret.open("rb") as old:
        moved = cli("store", "move-secret", "keyring", env=desktop.env)
        account = f"local.root/{own}"
        assert (moved.code, moved.out, moved.err) == (0, "", f"notice: root secret: the keyring's item {account}\n")
        assert old.read() == bytes(65)  # what the file held is overwritten, not only unlinked
    assert not cli.root_secret.exists()
    assert desktop.items()[account] == text
    assert cli("inspect", "-", "-q", input=token, env=desktop.env).code == 0
    assert cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-q", env=desktop.env).code == 0
    assert cli("audit", "verify", "-q", env=desktop.env).code == 0
    told = cli("store", "info", "-o", "json", env=desktop.env).json
    assert (told["root_secret_place"], told["root_secret"]) == ("keyring", account)
    again = cli("store", "move-secret", "keyring", "-o", "json", env=desktop.env)
    assert (again.code, again.json["moved"], again.json["before"]) == (0, False, "keyring")
    assert (again.json["root_secret_place"], again.json["root_secret"]) == ("keyring", account)
    back = cli("store", "move-secret", "file", "-q", env=desktop.env)
    assert (back.code, back.out, back.err) == (0, "", "notice: root secret: ~/.config/tokenctl/keys/local (0600)\n")
    assert cli.root_secret.read_text().strip() == text
    assert cli.root_secret.stat().st_mode & 0o777 == 0o600
    assert account not in desktop.items()
    assert cli("inspect", "-", "-q", input=token).code == 0
    assert cli("audit", "verify", "-q").code == 0


def test_two_homes_keep_two_secrets_in_one_keyring(cli, desktop, tmp_path):
    other = Cli(tmp_path / "other")
    other.home.mkdir(mode=0o700)
    for each in (cli, other):
        each.token()
        assert each("store", "move-secret", "keyring", "-q", env=desktop.env).code == 0
    assert {f"local.root/{cli('store', 'info', '-o', 'json', env=desktop.env).json['store_id']}"} < desktop.items().keys()
    for each in (cli, other):
        assert each("issue", "--subject", "s", "-q", env=desktop.env).code == 0


def test_a_cron_job_without_the_session_makes_no_second_secret(cli, desktop):
    cli.token()
    own = store_id(cli)
    assert cli("store", "move-secret", "keyring", "-q", env=desktop.env).code == 0
    before = tree(cli.home)
    for arguments in (("issue", "--subject", "s"), ("store", "move-secret", "file"), ("rotate-keys", "--root")):
        done = cli(*arguments)
        assert (done.code, done.out) == (4, "")
        assert done.err == f"tokenctl: {out_of_reach(own, 'no keyring is in reach')}\n{REMEDY}"
    assert tree(cli.home) == before
    assert cli("issue", "--subject", "s", "-q", env=desktop.env).code == 0


def test_in_a_session_with_a_locked_keyring_every_verb_ends_in_time_with_4(cli, tmp_path):
    cli.token()
    lead = out_of_reach(store_id(cli), "the keyring is locked")
    folder = tmp_path / "session"
    folder.mkdir()
    with session(folder) as locked:
        assert cli("store", "move-secret", "keyring", "-q", env=locked.env).code == 0
        locked.lock()
        before = tree(cli.home)
        for arguments in NEEDS_THE_SECRET:
            begun = time.monotonic()
            done = cli(*arguments, env=locked.env)
            assert time.monotonic() - begun < 4, arguments
            assert done.code == 4, (arguments, done)
            if arguments == ("doctor",):
                advice = "unlock the keyring, or run this in the session that has it; for cron move the secret to a file there"
                mend = "python -m tokenctl store move-secret file"
                assert f"FAIL\tsecret\t{lead}; {advice}\t{mend}\n" in done.out
            else:
                assert done.out == "" or arguments == ("store", "info"), arguments
                assert done.err == f"tokenctl: {lead}\n{REMEDY}", arguments
        assert tree(cli.home) == before


def test_doctor_names_the_profile_in_the_command_that_moves_a_secret_out_of_a_keyring(cli, desktop):
    assert cli("profile", "add", "prod", "-q").code == 0
    assert cli("-p", "prod", "issue", "--subject", "s", "-q").code == 0
    assert cli("-p", "prod", "store", "move-secret", "keyring", "-q", env=desktop.env).code == 0
    findings = cli("-p", "prod", "doctor", "-o", "json").json["findings"]
    (told,) = [finding for finding in findings if finding["check"] == "secret"]
    assert told["mend"] == "python -m tokenctl -p prod store move-secret file"
    assert "tokenctl store" not in told["detail"]


def test_a_secret_cannot_move_into_a_locked_keyring_and_stays_where_it_is(cli, tmp_path):
    cli.token()
    before = tree(cli.home)
    folder = tmp_path / "session"
    folder.mkdir()
    with session(folder) as locked:
        locked.lock()
        done = cli("store", "move-secret", "keyring", env=locked.env)
    assert (done.code, done.out) == (4, "")
    assert tree(cli.home) == before
    assert cli("issue", "--subject", "s", "-q").code == 0


def test_info_tells_where_a_secret_out_of_reach_lies_and_ends_with_4(cli, desktop):
    cli.token()
    assert cli("store", "move-secret", "keyring", "-q", env=desktop.env).code == 0
    whole = cli("store", "info", "-o", "json", env=desktop.env).json
    done = cli("store", "info", "-o", "json")
    assert (done.code, list(done.json)) == (4, list(whole))
    known = {name: value for name, value in done.json.items() if value is not None and name != "warnings"}
    assert known == {name: whole[name] for name in known}
    assert list(known) == ["profile", "path", "store_id", "root_secret_place", "root_secret", "anchor_path"]
    assert json.loads(done.err)["message"] == out_of_reach(known["store_id"], "no keyring is in reach")
    piped = cli("store", "info")
    assert piped.code == 4
    told = dict(line.split("\t") for line in piped.out.splitlines())
    assert (told["path"], told["root_secret"], told["tokens"]) == (str(cli.store), known["root_secret"], "-")


# Which keyring


def test_a_keyring_that_installs_itself_as_the_best_is_not_used(cli, tmp_path):
    folder = tmp_path / "plain"
    (folder / "plain-1.dist-info").mkdir(parents=True)
    (folder / "plain-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: plain\nVersion: 1\n")
    (folder / "plain-1.dist-info/entry_points.txt").write_text("[keyring.backends]\nplain = plain\n")
    (folder / "plain.py").write_text(
        "import pathlib\n"
        f"pathlib.Path({str(folder / 'imported')!r}).touch()\n"
        "from keyring.backend import KeyringBackend\n"
        "class Plain(KeyringBackend):\n"
        "    priority = 1000\n"
        "    def get_password(self, service, username):\n        return None\n"
        "    def set_password(self, service, username, password):\n"
        f"        pathlib.Path({str(folder / 'stolen')!r}).write_text(password)\n"
    )
    chosen = cli.home / ".config/python_keyring/keyringrc.cfg"
    chosen.parent.mkdir(parents=True)
    chosen.write_text("[backend]\ndefault-keyring=plain.Plain\n")
    env = {"PYTHONPATH": str(folder)}
    code = "import keyring; print(type(keyring.get_keyring()).__name__)"
    found = subprocess.run([sys.executable, "-c", code], env=cli.env | env, capture_output=True, check=True, text=True)
    assert found.stdout == "Plain\n"  # the library's own choice
    (folder / "imported").unlink()
    cli.token()
    done = cli("store", "move-secret", "keyring", env=env)
    assert done.code == 4
    assert done.err == (
        f"tokenctl: the keyring is out of reach, no keyring is in reach; {STAYS}\n"
        "hint: unlock the keyring, or run this in a session that has one\n"
    )
    named = cli("store", "move-secret", "keyring", env=env | {"PYTHON_KEYRING_BACKEND": "plain.Plain"})
    assert named.code == 4
    assert named.err == (
        f"tokenctl: the keyring is out of reach, PYTHON_KEYRING_BACKEND names a keyring that is not admitted; {STAYS}\n"
        "hint: unset PYTHON_KEYRING_BACKEND, or name it in the profile: keyring_backend\n"
    )
    assert not (folder / "stolen").exists()
    assert not (folder / "imported").exists()
    assert place(cli) == "file"


def test_the_environment_may_name_an_admitted_keyring_alone(cli, desktop):
    cli.token()
    named = {"PYTHON_KEYRING_BACKEND": "keyring.backends.SecretService.Keyring"}
    assert cli("store", "move-secret", "keyring", "-q", env=desktop.env | named).code == 0
    assert cli("inspect", UNKNOWN, env=desktop.env | {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}).code == 4
    assert cli("inspect", UNKNOWN, env=desktop.env | {"PYTHON_KEYRING_BACKEND": "keyring.backends.macOS.Keyring"}).code == 4
    assert cli("inspect", UNKNOWN, env=desktop.env).code == 5


def test_a_profile_admits_another_keyring_and_the_environment_may_name_it_too(kept):
    kept.token()
    assert kept("store", "move-secret", "keyring", "-q", env={"PYTHON_KEYRING_BACKEND": "kept.Kept"}).code == 0
    assert place(kept) == "keyring"
    (account,) = items(kept)
    assert account == f"tokenctl local.root/{store_id(kept)}"


@pytest.mark.parametrize("name", ["kept.Absent", "absent.Absent", "json.JSONDecoder", "kept", "os.system"])
def test_a_profile_that_names_no_keyring_leaves_the_secret_where_it_is(kept, name):
    kept.token()
    (kept.home / ".config/tokenctl/profiles/local.toml").write_text(f'keyring_backend = "{name}"\n')
    done = kept("store", "move-secret", "keyring")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("tokenctl: the keyring is out of reach, ")
    assert done.err.splitlines()[0].endswith(f"; {STAYS}")
    assert place(kept) == "file"


# Keyrings that hang, lie, or lose


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("hangs", "the keyring's item {account}, is out of reach: the keyring does not answer"),
        ("hangs-importing", "the keyring's item {account}, is out of reach: the keyring does not answer"),
        ("raises", "the keyring's item {account}, is out of reach: the keyring failed: ValueError"),
        ("exits", "the keyring's item {account}, is out of reach: the keyring failed: SystemExit"),
        ("answers-bytes", "the keyring's item {account}, is out of reach: the keyring answers with something that is no text"),
        ("answers-text", "the keyring's item {account} holds no root secret"),
        ("gone", "the keyring's item {account} is missing"),
    ],
)
def test_a_keyring_that_hangs_lies_or_has_lost_the_item_ends_in_time_with_4(kept, fault, cause):
    kept.token()
    account = f"local.root/{store_id(kept)}"
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    if fault == "gone":
        (kept.home / "kept.json").write_text("{}")
    before = tree(kept.home)
    for arguments in (("issue", "--subject", "s"), ("doctor",)):
        begun = time.monotonic()
        done = kept(*arguments, env={"KEPT_FAULT": fault})
        assert time.monotonic() - begun < 4
        assert done.code == 4, done
        told = done.out if arguments == ("doctor",) else done.err
        assert cause.format(account=account) in told
        assert "foreign" not in done.out + done.err
        assert "Traceback" not in done.err
    assert tree(kept.home) == before


def test_a_keyring_with_another_secret_in_it_is_10(kept):
    kept.token()
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    done = kept("list", env={"KEPT_FAULT": "answers-another"})
    assert (done.code, done.out) == (10, "")
    assert "is not the root secret of ~/.local/share/tokenctl/local/store.db" in done.err


@pytest.mark.parametrize("fault", ["loses", "raises", "answers-another"])
def test_a_keyring_that_does_not_keep_the_secret_does_not_get_it(kept, fault):
    kept.token()
    before = tree(kept.home)
    done = kept("store", "move-secret", "keyring", env={"KEPT_FAULT": fault})
    assert (done.code, done.out) == (4, ""), done
    assert {path: data for path, data in tree(kept.home).items() if not path.endswith("kept.json")} == before
    assert kept("issue", "--subject", "s", "-q").code == 0


def test_a_keyring_that_does_not_forget_is_told_and_a_rerun_finishes(kept):
    kept.token()
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    done = kept("store", "move-secret", "file", env={"KEPT_FAULT": "keeps"})
    assert done.code == 7
    assert "the root secret lies at ~/.config/tokenctl/keys/local now, but is not wiped from the keyring's item" in done.err
    assert "hint: python -m tokenctl store move-secret file\n" in done.err
    assert place(kept) == "file"
    assert len(items(kept)) == 1
    assert kept("store", "move-secret", "file", "-q").code == 0
    assert items(kept) == {}


def test_a_person_at_a_terminal_has_time_for_a_dialog_and_is_told_of_it(kept):
    kept.token()
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    env = kept.env | {"KEPT_FAULT": "sleeps:3.5", "DISPLAY": ":9", "TERM": "dumb"}
    begun = time.monotonic()
    child = pexpect.spawn(PROGRAM[0], [*PROGRAM[1:], "list"], env=env, cwd=str(kept.home), timeout=20, encoding="utf-8")
    child.expect("waiting for the keyring: answer its dialog within 60 s")
    assert 1 <= time.monotonic() - begun < 3
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    child = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], "list", "--no-input"], env=env, cwd=str(kept.home), timeout=20, encoding="utf-8"
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


def test_nobody_waits_for_the_lock_while_a_keyring_is_waited_for(kept):
    kept.token()
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    slow = subprocess.Popen(
        [*PROGRAM, "issue", "--subject", "slow", "-q"], env=kept.env | {"KEPT_FAULT": "sleeps:2"}, cwd=kept.home,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(0.8)
    begun = time.monotonic()
    assert kept("issue", "--subject", "quick", "-q", "--timeout", "1s").code == 0
    assert slow.poll() is None
    assert time.monotonic() - begun < 1.2
    assert (slow.wait(20), slow.communicate()[1]) == (0, b"")


@pytest.mark.parametrize(("target", "call"), [("keyring", 3), ("keyring", 4), ("file", 3), ("file", 4), ("file", 5)])
def test_a_move_killed_in_a_call_to_the_keyring_is_finished_by_running_it_again(kept, target, call):
    token = kept.token()
    if target == "file":
        assert kept("store", "move-secret", "keyring", "-q").code == 0
    died = kept("store", "move-secret", target, env={"KEPT_FAULT": f"killed-before:{call}"})
    assert (died.code, died.out) == (-signal.SIGKILL, "")
    assert kept("inspect", "-", "-q", input=token).code == 0
    assert kept("store", "move-secret", target, "-q").code == 0
    assert (place(kept), kept.root_secret.exists(), len(items(kept))) == (target, target == "file", int(target == "keyring"))
    assert kept("inspect", "-", "-q", input=token).code == 0


# Credentials of systemd


@pytest.fixture
def service(cli):
    """What a service's environment has: a folder of credentials, and the root secret in it."""
    cli.token()
    folder = cli.home / "credentials"
    folder.mkdir(mode=0o700)
    credential = folder / "tokenctl.local.root"
    credential.write_text(cli.root_secret.read_text().strip())  # as systemd-creds has it, without a newline
    credential.chmod(0o400)
    cli.env["CREDENTIALS_DIRECTORY"] = str(folder)
    return cli


def credential_of(cli: Cli) -> Path:
    return Path(cli.env["CREDENTIALS_DIRECTORY"]) / "tokenctl.local.root"


def test_a_secret_that_its_operator_placed_is_taken_from_there(service):
    moved = service("store", "move-secret", "credential")
    assert (moved.code, moved.err) == (0, "notice: root secret: the systemd credential tokenctl.local.root\n")
    assert not service.root_secret.exists()
    assert service("issue", "--subject", "s", "-q").code == 0
    assert service("audit", "verify", "-q").code == 0
    outside = service("list", env={"CREDENTIALS_DIRECTORY": ""})
    assert (outside.code, outside.out) == (4, "")
    assert "is not handed to this process" in outside.err
    refused = service("rotate-keys", "--root")
    assert (refused.code, refused.out) == (6, "")
    assert "can be exchanged by its operator alone" in refused.err
    back = service("store", "move-secret", "file")
    assert back.code == 0
    assert service("list", env={"CREDENTIALS_DIRECTORY": ""}).code == 0


def test_a_credential_with_another_secret_wipes_nothing(service):
    credential = credential_of(service)
    credential.chmod(0o600)
    credential.write_text("ab" * 32 + "\n")
    before = service.root_secret.read_bytes()
    done = service("store", "move-secret", "credential")
    assert (done.code, done.out) == (10, "")
    assert service.root_secret.read_bytes() == before
    assert place(service) == "file"


def test_a_credential_that_is_not_there_wipes_nothing(service):
    credential_of(service).unlink()
    done = service("store", "move-secret", "credential")
    assert (done.code, done.out) == (4, "")
    name, kept_in = "tokenctl.local.root", f"/etc/credstore.encrypted/{'tokenctl.local.root'}"
    assert done.err == (
        f"tokenctl: the systemd credential {name} is out of reach, it is not handed to this process; {STAYS}\n"
        f"hint: as root: systemd-creds encrypt --name={name} {service.root_secret} {kept_in}; "
        f"then run this as a service with LoadCredentialEncrypted={name}: man 7 tokenctl-security\n"
    )
    assert service("issue", "--subject", "s", "-q").code == 0


def test_from_the_keyring_a_secret_goes_to_a_credential_by_way_of_a_file(kept):
    kept.token()
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    done = kept("store", "move-secret", "credential", env={"CREDENTIALS_DIRECTORY": str(kept.home)})
    assert (done.code, done.out) == (6, "")
    assert done.err == (
        "tokenctl: from the keyring the root secret goes to a credential by way of a file\n"
        "hint: python -m tokenctl store move-secret file; then place it with systemd-creds, and move it on\n"
    )


def _acl(*entries: tuple[int, int, int]) -> bytes:
    """An access list as the kernel takes it: tag, permissions, who."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize("fault", ["open", "link", "large", "directory", "relative"])
def test_a_credential_that_others_could_have_a_hand_in_is_refused(service, fault):
    assert service("store", "move-secret", "credential", "-q").code == 0
    credential = credential_of(service)
    if fault == "open":
        credential.chmod(0o440)
    elif fault == "link":
        credential.rename(credential.with_name("elsewhere"))
        credential.symlink_to("elsewhere")
    elif fault == "large":
        credential.chmod(0o600)
        credential.write_bytes(credential.read_bytes() + b"\n" * 300)
    elif fault == "directory":
        credential.parent.chmod(0o777)
    else:
        service.env["CREDENTIALS_DIRECTORY"] = "credentials"
    done = service("list")
    assert (done.code, done.out) == (9, ""), done
    assert service("doctor").code == 9


def test_a_credential_is_believed_with_the_access_list_that_systemd_gives_it(service):
    credential, everybody = credential_of(service), 0xFFFFFFFF
    assert service("store", "move-secret", "credential", "-q").code == 0
    owner, group, mask, others = (1, 4, everybody), (4, 0, everybody), (0x10, 4, everybody), (0x20, 0, everybody)
    try:
        os.setxattr(credential, "system.posix_acl_access", _acl(owner, (2, 4, os.geteuid()), group, mask, others))
    except OSError:
        pytest.skip("this file system knows no access lists")
    assert credential.stat().st_mode & 0o777 == 0o440  # the group bits are the mask
    assert service("list").code == 0
    stranger = os.geteuid() + 1
    os.setxattr(
        credential, "system.posix_acl_access", _acl(owner, (2, 4, os.geteuid()), (2, 4, stranger), group, mask, others)
    )
    assert service("list").code == 9


# What doctor tells


def _environment(cli: Cli, **env: str) -> list[tuple[object, object, object]]:
    found = cli("doctor", "-o", "json", env=env).json["findings"]
    return [(each["status"], each["detail"], each["mend"]) for each in found if each["check"] == "environment"]


def test_doctor_names_what_leads_to_the_secret_where_it_lies(service):
    assert _environment(service, DBUS_SESSION_BUS_ADDRESS="unix:path=/nowhere") == [
        ("ok", "nothing in it bends this program", None)
    ]
    assert service("store", "move-secret", "credential", "-q").code == 0
    assert _environment(service) == [("ok", "CREDENTIALS_DIRECTORY leads to the root secret", None)]
    assert _secret(service) == [("ok", "the systemd credential tokenctl.local.root, belongs to the store")]


def _secret(cli: Cli) -> list[tuple[object, object]]:
    found = cli("doctor", "-o", "json").json["findings"]
    return [(each["status"], each["detail"]) for each in found if each["check"] == "secret"]


def test_doctor_names_what_bends_the_keyring(cli, desktop):
    cli.token()
    cli.env |= desktop.env
    assert cli("store", "move-secret", "keyring", "-q").code == 0
    assert _secret(cli) == [("ok", f"the keyring's item local.root/{store_id(cli)}, belongs to the store")]
    bent = {"PYTHON_KEYRING_BACKEND": "keyring.backends.SecretService.Keyring", "KEYRING_PROPERTY_APPID": "x"}
    assert _environment(cli, **bent) == [
        (
            "warn",
            "PYTHON_KEYRING_BACKEND: names the keyring to use; one that is not admitted is refused",
            "unset PYTHON_KEYRING_BACKEND",
        ),
        ("warn", "KEYRING_PROPERTY_APPID: would bend the keyring: it is refused", "unset KEYRING_PROPERTY_APPID"),
        ("ok", "DBUS_SESSION_BUS_ADDRESS leads to the keyring, where the root secret lies", None),
    ]


def test_an_error_in_json_says_which_way_it_failed(cli, desktop):
    cli.token()
    assert cli("store", "move-secret", "keyring", "-q", env=desktop.env).code == 0
    told = json.loads(cli("list", "-o", "json").err)
    assert (told["error"], told["reason"], told["exit_code"]) == ("access_denied", "keyring_absent", 4)


# Moving


def test_a_place_that_there_is_not_is_a_usage_error(cli):
    cli.token()
    done = cli("store", "move-secret", "vault")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: a root secret lies in one of file, keyring, credential\n")


def test_there_is_nothing_to_move_without_a_store(cli):
    assert cli("store", "move-secret", "keyring").code == 5
    assert list(cli.home.iterdir()) == []


def test_another_secret_in_the_file_is_not_written_over(kept):
    kept.token()
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    kept.root_secret.write_text("ab" * 32 + "\n")
    kept.root_secret.chmod(0o600)
    done = kept("store", "move-secret", "file")
    assert (done.code, done.out) == (6, "")
    assert kept.root_secret.read_text() == "ab" * 32 + "\n"
    assert kept("issue", "--subject", "s", "-q").code == 0


def test_a_copy_that_a_killed_move_left_is_wiped_by_running_it_again(kept):
    kept.token()
    text = kept.root_secret.read_bytes()
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    kept.root_secret.write_bytes(text)
    kept.root_secret.chmod(0o600)
    found = {finding["detail"]: finding["mend"] for finding in kept("doctor", "-o", "json").json["findings"]}
    told = "~/.config/tokenctl/keys/local holds a copy of the root secret, or the rest of one"
    assert found[told] == "python -m tokenctl store move-secret keyring"
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    assert not kept.root_secret.exists()


def test_the_log_tells_where_the_secret_went(kept):
    kept.token()
    assert kept("store", "move-secret", "keyring", "-q").code == 0
    assert kept("store", "move-secret", "file", "-q").code == 0
    done = kept("audit", "log", "--operation", "store.move_secret", "-o", "jsonl")
    assert [record["reason"] for record in done.lines] == ["file to keyring", "keyring to file"]
    assert kept("audit", "verify", "-q").code == 0
