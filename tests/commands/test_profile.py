"""``profile``: one file a profile, a store each."""

from __future__ import annotations

import re
import sqlite3
import stat

import pytest

from tokenctl.cli.app import verb_of


def test_the_built_in_profile_needs_no_file(cli):
    assert cli("profile", "list").out == "local\tlocal\tcurrent\n"
    assert cli("profile", "list", "-o", "json").json["profiles"] == [{"name": "local", "backend": "local", "current": True}]
    shown = cli("profile", "show", "-o", "json").json
    assert (shown["name"], shown["backend"], shown["issuer"]) == ("local", "local", None)
    assert (shown["store"], shown["root_secret"], shown["anchor"]) == (str(cli.store), str(cli.root_secret), str(cli.anchor))
    assert list(cli.home.iterdir()) == []


def test_a_profile_is_made_used_and_removed(cli):
    added = cli("profile", "add", "prod", "--issuer", "https://i.example", "--default-audience", "api", "--eddsa-name", "Ed25519")
    assert (added.code, added.out, added.err) == (0, "", "")
    path = cli.home / ".config/tokenctl/profiles/prod.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    shown = cli("profile", "show", "prod", "-o", "json").json
    assert (shown["issuer"], shown["default_audience"], shown["eddsa_name"]) == ("https://i.example", "api", "Ed25519")
    assert cli("profile", "list").out == "local\tlocal\tcurrent\nprod\tlocal\t-\n"
    assert cli("profile", "use", "prod").code == 0
    assert cli("profile", "list").out == "local\tlocal\t-\nprod\tlocal\tcurrent\n"
    token = cli.token("--format", "jwt", "--algorithm", "EdDSA")
    answer = cli("inspect", "-", "--audience", "api", "-o", "json", input=token).json
    assert (answer["active"], answer["profile"], answer["issuer"], answer["header"]["alg"]) == (
        True,
        "prod",
        "https://i.example",
        "Ed25519",
    )
    assert cli("inspect", "-", "-p", "local", "--any-audience", input=token).code == 3
    assert cli("profile", "remove", "prod", "--yes").code == 6
    assert cli("profile", "use", "local").code == 0
    asked = cli("profile", "remove", "prod")
    assert (asked.code, asked.out, path.exists()) == (2, "", True)
    assert cli("profile", "remove", "prod", "--yes").code == 0
    assert not path.exists()
    assert (cli.home / ".local/share/tokenctl/prod/store.db").exists()
    assert cli("profile", "show", "prod").code == 5


def test_adding_again_is_done_and_adding_otherwise_is_a_conflict(cli):
    assert cli("profile", "add", "prod", "--issuer", "a").code == 0
    assert cli("profile", "add", "prod", "--issuer", "a").code == 0
    other = cli("profile", "add", "prod", "--issuer", "b")
    assert (other.code, other.out) == (6, "")
    assert other.err == "tokenctl: profile prod is there with other settings\nhint: python -m tokenctl profile show prod\n"


@pytest.mark.parametrize(
    "verb", [("list",), ("issue", "--subject", "s"), ("profile", "use", "nowhere"), ("profile", "show", "nowhere")]
)
def test_an_unknown_profile_is_not_found(cli, verb):
    given = () if verb[0] == "profile" else ("-p", "nowhere")
    done = cli(*verb, *given)
    assert (done.code, done.out) == (5, "")
    assert done.err == "tokenctl: no profile nowhere\nhint: profiles: local; make it: python -m tokenctl profile add nowhere\n"


@pytest.mark.parametrize("name", ["", "a/b", "..", "../x", "a b", "x" * 65, "a\nb", "\x1b[31m", "é", ".hidden"])
def test_a_name_that_is_also_a_path_is_refused(cli, name):
    for arguments in (("profile", "add", name), ("profile", "use", name), ("list", "-p", name)):
        done = cli(*arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert "\x1b" not in done.err
    assert list(cli.home.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--backend", "oracle"), 9),
        (("--eddsa-name", "x"), 2),
        (("--issuer", ""), 2),
        (("--issuer", "a\x1bb"), 2),
        (("--default-audience", " "), 2),
    ],
)
def test_settings_that_make_no_sense_are_refused(cli, arguments, code):
    done = cli("profile", "add", "p", *arguments)
    assert (done.code, done.out) == (code, "")
    assert list(cli.home.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "not toml [", 'backend = "oracle"', "backend = 5", 'plugin = "x"', 'backend = "local"\ncommand = "rm"', "\x00",
        'jwks_file = "jwks.json"', "jwks_file = 1", 'verifiers = "https://gw.example"', "verifiers = [1]", "rotation = 1",
    ],
)  # fmt: skip
def test_a_file_that_is_not_understood_is_named(cli, text):
    cli("profile", "add", "p")
    path = cli.home / ".config/tokenctl/profiles/p.toml"
    path.write_text(text)
    done = cli("list", "-p", "p")
    assert (done.code, done.out) == (9, "")
    assert str(path) in done.err


def test_the_profile_is_chosen_by_option_then_environment_then_use(cli):
    for name in ("a", "b", "c"):
        cli("profile", "add", name)
    cli("profile", "use", "c")
    assert cli("profile", "show", "-o", "json").json["name"] == "c"
    assert cli("profile", "show", "-o", "json", env={"TOKENCTL_PROFILE": "b"}).json["name"] == "b"
    assert cli("profile", "show", "-p", "a", "-o", "json", env={"TOKENCTL_PROFILE": "b"}).json["name"] == "a"
    other = cli.home / "elsewhere"
    other.mkdir(mode=0o700)
    assert cli("profile", "list", env={"TOKENCTL_CONFIG": str(other)}).out == "local\tlocal\tcurrent\n"


def test_a_profile_that_others_may_write_is_refused(cli):
    cli("profile", "add", "p")
    path = cli.home / ".config/tokenctl/profiles/p.toml"
    path.chmod(0o666)
    done = cli("list", "-p", "p")
    assert (done.code, done.out) == (9, "")
    assert f"chmod 600 {path}" in done.err


CALLED = "python -m tokenctl"
UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"


def hint(done) -> str:
    return done.err.splitlines()[-1].removeprefix("hint: ")


def test_a_command_in_a_hint_means_the_profile_of_the_run(cli):
    cli("profile", "add", "staging")
    for given, env in ((("-p", "staging"), {}), (("--profile=staging",), {}), ((), {"TOKENCTL_PROFILE": "staging"})):
        done = cli(*given, "issue", "--subject", "s", "--request-id", "r", "-q", env=env)
        done = done if done.code else cli(*given, "issue", "--subject", "s", "--request-id", "r", env=env)
        assert done.code == 6
        assert re.fullmatch(rf"{CALLED} -p staging inspect [0-9A-Za-z]{{22}}", hint(done))
        done = cli(*given, "revoke", f"tkc_at_{UNKNOWN}_{'A' * 49}", env=env)
        assert (done.code, hint(done)) == (2, f"pipe it instead: {CALLED} -p staging revoke - < FILE")
        assert hint(cli(*given, "revoke", env=env)) == (
            f"{CALLED} -p staging revoke ID, or pipe what leaked: {CALLED} -p staging revoke - < FILE"
        )


def test_a_hint_names_no_profile_where_a_bare_call_means_it(cli):
    cli("profile", "add", "staging")
    cli("profile", "use", "staging")
    for given in ((), ("-p", "staging")):
        assert hint(cli(*given, "inspect", "-", input="\n")) == f"pipe the token: {CALLED} inspect - < FILE"
    assert hint(cli("-p", "local", "inspect", "-", input="\n")) == f"pipe the token: {CALLED} -p local inspect - < FILE"


def test_a_hint_at_help_or_at_another_profile_names_none(cli):
    cli("profile", "add", "staging")
    assert hint(cli("-p", "staging", "list", "--nonsense")) == f"{CALLED} list --help"
    assert hint(cli("-p", "staging", "revoke", UNKNOWN, "--lift", "--suspend")) == f"{CALLED} revoke --help"
    done = cli("-p", "staging", "profile", "add", "staging", "--issuer", "x")
    assert hint(done) == f"{CALLED} profile show staging"


def test_a_quarantined_store_of_another_profile_is_released_by_the_hint(cli):
    cli("profile", "add", "staging")
    cli("-p", "staging", "issue", "--subject", "s", "-q")
    place = cli.home / ".local/share/tokenctl/staging/store.db"
    with sqlite3.connect(place) as store:
        store.execute("UPDATE token SET subject = 'other'")
    done = cli("-p", "staging", "audit", "verify")
    assert (done.code, hint(done)) == (
        10, f"restore the newest copy, or accept this one: {CALLED} -p staging store release --reason R"
    )  # fmt: skip
    done = cli("-p", "staging", "list")
    assert hint(done).endswith(f"restore the newest copy, or accept this one: {CALLED} -p staging store release --reason R")


def test_the_detail_of_an_outcome_calls_the_profile_of_the_run(cli):
    cli("profile", "add", "staging")
    done = cli("-p", "staging", "issue", "--subject", "s", "-o", "json")
    parent = str(done.json["id"])
    assert cli("-p", "staging", "issue", "--subject", "s", "--parent", parent, "--ttl", "5m", "-q").code == 0
    assert cli("-p", "staging", "revoke", parent, "--keep-children", "--yes").code == 0
    done = cli("-p", "staging", "revoke", parent, "--yes", "-o", "json")
    assert done.json["targets"][0]["detail"] == f"its children were kept: {CALLED} -p staging revoke --parent {parent}"


@pytest.mark.parametrize("given", [("-p", "local"), ("-o", "text"), ("--timeout", "1s"), ("--profile", "local")])
def test_the_value_of_an_option_before_the_verb_is_no_verb(given):
    assert verb_of([*given, "list"]) == "list"


def test_the_rotation_of_keys_is_read_from_the_file(cli):
    assert cli("profile", "show", "-o", "json").json["rotation"] == {"age": "90d", "publication": "1d", "grace": "1h"}
    cli("profile", "add", "p")
    path = cli.home / ".config/tokenctl/profiles/p.toml"
    path.write_text(
        'jwks_file = "/srv/www/jwks.json"\nverifiers = ["https://gw.example/jwks"]\n'
        'keyring_backend = "vendor.Keyring"\n[rotation]\nage = "30d"\ngrace = "0s"\n'
    )
    shown = cli("profile", "show", "p", "-o", "json").json
    assert shown["rotation"] == {"age": "30d", "publication": "1d", "grace": "0s"}
    assert (shown["jwks_file"], shown["verifiers"]) == ("/srv/www/jwks.json", ["https://gw.example/jwks"])
    assert shown["keyring_backend"] == "vendor.Keyring"
    assert "rotation\tage 30d, publication 1d, grace 0s\n" in cli("profile", "show", "p").out
    before = path.read_bytes()
    assert cli("profile", "add", "p").code == 6
    assert path.read_bytes() == before


@pytest.mark.parametrize("table", ['age = "0s"', "age = 30", 'age = "1y"', 'grace = "soon"', 'days = "3d"'])
def test_a_mistake_in_the_rotation_keeps_nobody_from_revoking(cli, table):
    cli("profile", "add", "p")
    identifier = cli("issue", "-p", "p", "--subject", "x", "-o", "json").json["id"]
    (cli.home / ".config/tokenctl/profiles/p.toml").write_text(f"[rotation]\n{table}\n")
    shown = cli("profile", "show", "p")
    assert (shown.code, shown.out) == (9, "")
    assert "[rotation]" in shown.err
    assert cli("revoke", "-p", "p", identifier, "--yes").code == 0


def test_a_profile_is_made_with_its_published_file_and_its_verifiers(cli):
    urls = ("https://gw1.example/jwks", "http://127.0.0.1:8080/healthz")
    done = cli("profile", "add", "p", "--jwks-file", "www/jwks.json", "--verifier", urls[0], "--verifier", urls[1])
    assert (done.code, done.err) == (0, "")
    shown = cli("profile", "show", "p", "-o", "json").json
    assert (shown["jwks_file"], shown["verifiers"]) == (f"{cli.home}/www/jwks.json", list(urls))
    assert cli("profile", "add", "p", "--jwks-file", "other.json").code == 6
    for wrong in (
        ("--verifier", "http://gw1.example/jwks"), ("--verifier", "gw1"), ("--jwks-file", ".config/tokenctl/keys/p"),
        ("--jwks-file", "www/"),
    ):  # fmt: skip
        assert cli("profile", "add", "q", *wrong).code == 2, wrong
    assert not (cli.home / ".config/tokenctl/profiles/q.toml").exists()
