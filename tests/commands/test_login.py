"""``login``, ``logout`` and ``whoami``: a real Secret Service, a real authorization server, a real OpenBao."""

from __future__ import annotations

import json
import os
import time

import pexpect
import pytest

from tests.conftest import PROGRAM
from tests.remote_profiles import add_oauth2, add_openbao, by_key, kept, login, registration, use_kept
from tests.secret_service import session
from tests.servers.openbao import running
from tests.stub import serving


@pytest.fixture(scope="module")
def desktop(tmp_path_factory):
    """A session whose keyring is open."""
    with session(tmp_path_factory.mktemp("desktop")) as started:
        yield started


@pytest.fixture
def prod(cli, oidc_provider):
    """A client of its own at a profile whose credential the keyring of the tests keeps."""
    client = oidc_provider.register()
    add_oauth2(cli, oidc_provider, client)
    use_kept(cli, "prod")
    return client


# login


def test_a_credential_is_proved_and_kept_in_the_secret_service_with_its_origins(cli, oidc_provider, desktop):
    client = oidc_provider.register()
    add_oauth2(cli, oidc_provider, client)
    done = cli("-p", "prod", "login", "-", input=f"{client.secret}\n", env=desktop.env)
    assert (done.code, done.out, done.err) == (0, "", "")
    item = json.loads(desktop.items()["profile/prod"])
    assert item == {
        "v": 1, "method": "secret", "secret": client.secret, "client_id": client.id, "origins": [oidc_provider.issuer],
    }  # fmt: skip
    done = cli("-p", "prod", "whoami", "-o", "json", env=desktop.env)
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "profile": "prod", "backend": "oauth2", "place": oidc_provider.issuer, "actor": done.json["actor"],
        "subject": client.id, "scope": None, "expires_at": None, "credential": "the keyring's item profile/prod",
        "origins": [oidc_provider.issuer], "warnings": [],
    }  # fmt: skip
    done = cli("-p", "prod", "logout", "-o", "json", env=desktop.env)
    assert done.json == {"action": "logout", "profile": "prod", "revoked": False, "forgotten": True, "warnings": []}
    assert "profile/prod" not in desktop.items()
    done = cli("-p", "prod", "whoami", env=desktop.env)
    assert (done.code, done.out) == (4, "")
    assert done.err == (
        "tokenctl: no credential for profile prod\n"
        "hint: python -m tokenctl -p prod login; without a keyring: --credential-file FILE (0600)\n"
    )
    assert cli("-p", "prod", "logout", env=desktop.env).code == 0


def test_a_locked_keyring_keeps_nothing_and_says_the_remedy(cli, oidc_provider, tmp_path):
    client = oidc_provider.register()
    add_oauth2(cli, oidc_provider, client)
    folder = tmp_path / "own"
    folder.mkdir()
    with session(folder) as own:
        own.lock()
        done = cli("-p", "prod", "login", "-", input=client.secret, env=own.env)
    assert (done.code, done.out) == (4, "")
    assert done.err == (
        "tokenctl: the keyring is locked\nhint: without a keyring, hand it in each time: --credential-file FILE (0600)\n"
    )


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
def test_each_way_of_a_client_to_prove_itself_logs_in(cli, oidc_provider, method):
    client = oidc_provider.register(method)
    add_oauth2(cli, oidc_provider, client)
    file = use_kept(cli, "prod")
    login(cli, "prod", json.dumps(client.key) if client.key else client.secret)
    assert kept(file, "prod")["method"] == ("private_key" if client.key else "secret")
    assert cli("-p", "prod", "whoami", "-q").code == 0


def test_the_answer_to_a_registration_is_a_credential(cli, oidc_provider):
    client = oidc_provider.register()
    add_oauth2(cli, oidc_provider)
    file = use_kept(cli, "prod")
    login(cli, "prod", registration(client))
    assert kept(file, "prod")["registration_token"] == client.registration_token
    assert cli("-p", "prod", "whoami", "-o", "json").json["subject"] == client.id


def test_a_wrong_secret_is_refused_and_nothing_is_kept(cli, oidc_provider, prod):
    login(cli, "prod", prod.secret)
    before = (cli.home / "kept.json").read_bytes()
    done = cli("-p", "prod", "login", "-", input="not-the-secret-of-this-client")
    assert (done.code, done.out) == (4, "")
    assert done.err == (
        f"tokenctl: {oidc_provider.issuer} refuses the client: invalid_client\nhint: python -m tokenctl -p prod login\n"
    )
    assert (cli.home / "kept.json").read_bytes() == before


def test_a_server_that_lets_no_client_ask_still_proves_one(cli, django_toolkit):
    """Its introspection wants a scope that the client may lack."""
    client = django_toolkit.register()
    add_oauth2(cli, django_toolkit, client)
    use_kept(cli, "prod")
    login(cli, "prod", client.secret)
    assert cli("-p", "prod", "login", "-", input="wrong").code == 4


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        ("", 2, "no credential was handed in"),
        (" \n", 2, "no credential was handed in"),
        (b"\xff\xfe", 4, "what was handed in holds a credential that is no text"),
        ('{"v": 2}', 4, "what was handed in holds a credential that is not understood"),
        ('{"v": 1, "method": "secret", "secret": "s", "origins": "x"}', 4, "what was handed in holds a credential"),
        ('{"v": 1, "method": "token", "secret": "s"}', 2, "what was handed in is no credential for backend oauth2"),
        ("x" * 70_000, 2, "standard input is larger"),
    ],
)
def test_what_is_no_credential_is_refused(cli, prod, given, code, told):
    done = cli("-p", "prod", "login", "-", input=given)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"tokenctl: {told}")
    assert not (cli.home / "kept.json").exists()


def test_a_client_must_be_named(cli, oidc_provider):
    add_oauth2(cli, oidc_provider)
    done = cli("-p", "prod", "login", "-", input="s")
    assert (done.code, done.err) == (
        2,
        "tokenctl: --client-id: the profile names no client\nhint: python -m tokenctl -p prod login --client-id ID\n",
    )


@pytest.mark.parametrize("verb", [("login", "-"), ("logout",), ("login", "--rotate", "--yes")])
def test_a_local_profile_needs_no_credential(cli, verb):
    done = cli(*verb, input="x")
    assert (done.code, done.out) == (9, "")
    assert done.err.startswith("tokenctl: profile local is local: its store needs no credential\n")
    assert list(cli.home.iterdir()) == []


def test_a_prompt_names_the_service_and_shows_nothing(cli, oidc_provider, prod):
    child = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], "-p", "prod", "login"], env=cli.env | {"TERM": "dumb"}, cwd=str(cli.home), dimensions=(24, 200)
    )
    child.expect_exact(f"Credential of prod for {oidc_provider.issuer} (not shown): ")
    child.sendline(prod.secret)
    child.expect(pexpect.EOF)
    child.close()
    shown = child.before.decode()
    assert child.exitstatus == 0, shown
    assert prod.secret not in shown
    assert f"logged in to prod (oauth2 at {oidc_provider.issuer}) as {prod.id}" in shown


# The order of the look-up


def secret_file(cli, name, text):
    path = cli.home / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_the_first_place_that_has_a_credential_counts(cli, oidc_provider, prod):
    """Each place in turn has the right one and all behind it a wrong one."""
    login(cli, "prod", prod.secret)
    right, wrong = secret_file(cli, "right", f"{prod.secret}\n"), secret_file(cli, "wrong", "wrong")
    folder = cli.home / "credentials"
    folder.mkdir(mode=0o700)
    handed = folder / "tokenctl.prod"

    def whoami(*options, **env):
        return cli("-p", "prod", "whoami", "-q", *options, env=env).code

    handed.write_text("wrong")
    handed.chmod(0o400)
    assert whoami() == 0
    assert whoami(CREDENTIALS_DIRECTORY=str(folder)) == 4
    handed.chmod(0o600)
    handed.write_text(prod.secret)
    handed.chmod(0o400)
    (cli.home / "kept.json").unlink()
    assert whoami(CREDENTIALS_DIRECTORY=str(folder)) == 0
    assert whoami(CREDENTIALS_DIRECTORY=str(folder), TOKENCTL_CREDENTIAL_FILE=wrong) == 4
    assert whoami(TOKENCTL_CREDENTIAL_FILE=right) == 0
    assert whoami("--credential-file", wrong, TOKENCTL_CREDENTIAL_FILE=right) == 4
    assert whoami("--credential-file", right, TOKENCTL_CREDENTIAL_FILE=wrong) == 0
    reader, writer = os.pipe()
    os.write(writer, prod.secret.encode())
    os.close(writer)
    done = cli("-p", "prod", "whoami", "-q", "--credential-fd", str(reader), pass_fds=[reader])
    os.close(reader)
    assert done.code == 0, done.err


def test_a_credential_file_that_others_can_read_is_refused(cli, prod):
    path = secret_file(cli, "open", prod.secret)
    os.chmod(path, 0o640)
    done = cli("-p", "prod", "whoami", "--credential-file", path)
    assert (done.code, done.out) == (9, "")
    os.unlink(path)
    assert cli("-p", "prod", "whoami", "--credential-file", path).code == 4


# Origins


def bytes_of(stub):
    return b"".join(request.head + request.body for request in stub.requests)


@pytest.mark.parametrize("verb", [("whoami",), ("issue",), ("logout", "--revoke"), ("login", "--rotate", "--yes"), ("doctor",)])
def test_a_profile_of_a_cloned_project_gets_no_byte_of_the_credential(cli, prod, verb):
    """Its ``prod`` is another place; whatever it is asked for, the credential stays here."""
    login(cli, "prod", prod.secret)
    with serving({}) as stub:
        cloned = cli.home / "cloned"
        (cloned / "profiles").mkdir(parents=True, mode=0o700)
        cloned.chmod(0o700)
        profile = cloned / "profiles/prod.toml"
        profile.write_text(
            f'keyring_backend = "kept.Kept"\nbackend = "oauth2"\nissuer = "{stub.url("")}"\n[service]\nclient_id = "{prod.id}"\n'
        )
        done = cli("-p", "prod", *verb, env={"TOKENCTL_CONFIG": str(cloned)})
        # The doctor goes on, and finds that the service there is none.
        assert (done.code, prod.secret in done.out + done.err) == (9 if verb == ("doctor",) else 4, False)
        assert f"not for {stub.url('')}: nothing was sent" in done.out + done.err
        if verb != ("doctor",):
            assert stub.requests == []
        assert prod.secret.encode() not in bytes_of(stub)


def test_an_endpoint_of_another_origin_in_a_cloned_project_gets_no_byte(cli, oidc_provider, prod):
    login(cli, "prod", prod.secret)
    with serving({}) as stub:
        cloned = cli.home / "cloned"
        (cloned / "profiles").mkdir(parents=True, mode=0o700)
        cloned.chmod(0o700)
        own = (cli.home / ".config/tokenctl/profiles/prod.toml").read_text()
        (cloned / "profiles/prod.toml").write_text(f'{own}\n[service.endpoints]\ntoken = "{stub.url("/token")}"\n')
        done = cli("-p", "prod", "issue", "--scope", "a:read", env={"TOKENCTL_CONFIG": str(cloned)})
        assert (done.code, stub.requests) == (4, [])


@pytest.mark.parametrize("bending", ["TOKENCTL_CONFIG", "XDG_CONFIG_HOME"])
@pytest.mark.parametrize("place", ["TOKENCTL_CREDENTIAL_FILE", "CREDENTIALS_DIRECTORY"])
def test_a_bare_secret_of_the_environment_goes_nowhere_that_the_environment_names(cli, prod, bending, place):
    own = cli.home / ".config/tokenctl" if bending == "TOKENCTL_CONFIG" else cli.home / "other"
    if bending == "XDG_CONFIG_HOME":
        own.mkdir(mode=0o700)
        (cli.home / ".config/tokenctl").rename(own / "tokenctl")
    folder = cli.home / "credentials"
    folder.mkdir(mode=0o700)
    path = folder / "tokenctl.prod"
    path.write_text(prod.secret)
    path.chmod(0o400)
    env = {bending: str(own), place: str(path if place == "TOKENCTL_CREDENTIAL_FILE" else folder)}
    done = cli("-p", "prod", "whoami", env=env)
    assert (done.code, done.out) == (4, "")
    assert f"holds a bare secret, and {bending} says where it would be sent" in done.err
    origins = ["https://elsewhere.example"]
    path.chmod(0o600)
    path.write_text(json.dumps({"v": 1, "method": "secret", "secret": prod.secret, "origins": origins}))
    assert "stored for https://elsewhere.example, not for" in cli("-p", "prod", "whoami", env=env).err


def test_a_credential_file_with_its_origins_needs_no_home(cli, oidc_provider, prod):
    text = {"v": 1, "method": "secret", "secret": prod.secret, "origins": [oidc_provider.issuer]}
    env = {
        "TOKENCTL_CREDENTIAL_FILE": secret_file(cli, "file", json.dumps(text)),
        "TOKENCTL_CONFIG": str(cli.home / ".config/tokenctl"),
    }
    assert cli("-p", "prod", "whoami", "-q", env=env).code == 0


@pytest.mark.parametrize("way", ["standard input", "a file"])
def test_what_was_stored_for_another_service_is_logged_in_nowhere_else(cli, prod, way):
    text = json.dumps({"v": 1, "method": "secret", "secret": prod.secret, "origins": ["https://elsewhere.example"]})
    with serving({}) as stub:
        folder = cli.home / ".config/tokenctl/profiles"
        (folder / "other.toml").write_text(f'backend = "oauth2"\nissuer = "{stub.url("")}"\n[service]\nclient_id = "x"\n')
        if way == "a file":
            done = cli("-p", "other", "login", "--credential-file", secret_file(cli, "file", text))
        else:
            done = cli("-p", "other", "login", "-", input=text)
        assert (done.code, done.out) == (4, "")
        assert done.err == (
            f"tokenctl: the credential of profile other was stored for https://elsewhere.example, not for {stub.url('')}: nothing"
            " was sent\nhint: if it is for this service too: hand in its secret alone\n"
        )
        assert stub.requests == []


# logout, and the end of a profile


def test_logout_revoke_deletes_a_client_that_manages_itself(cli, oidc_provider, prod):
    login(cli, "prod", registration(prod))
    done = cli("-p", "prod", "logout", "--revoke", "-o", "json")
    assert (done.json["action"], done.json["revoked"], done.json["forgotten"]) == ("logout", True, True)
    assert oidc_provider.post("token", prod, grant_type="client_credentials").status_code == 401
    log = cli("-p", "prod", "audit", "log", "--operation", "credential.*", "-o", "json").json["records"]
    assert sorted(record["outcome"] for record in log) == ["done", "pending"]
    assert cli("-p", "prod", "audit", "verify", "-q").code == 0


def test_logout_revoke_of_a_client_that_cannot_manage_itself_forgets_nothing(cli, prod):
    login(cli, "prod", prod.secret)
    done = cli("-p", "prod", "logout", "--revoke")
    assert (done.code, done.out) == (9, "")
    assert cli("-p", "prod", "whoami", "-q").code == 0


def test_removing_a_profile_tells_of_the_credential_that_stays(cli, oidc_provider, desktop):
    client = oidc_provider.register()
    add_oauth2(cli, oidc_provider, client)
    login(cli, "prod", client.secret, env=desktop.env)
    done = cli("profile", "remove", "prod", "--yes", env=desktop.env)
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "warning: its credential stays in the keyring's item profile/prod; to forget it: python -m tokenctl logout -p prod\n"
    )
    assert cli("logout", "-p", "prod", env=desktop.env).code == 0
    assert "profile/prod" not in desktop.items()
    assert cli("logout", "-p", "prod", env=desktop.env).code == 5


# OpenBao


def test_a_token_of_openbao_logs_in_and_out(cli, openbao):
    token = openbao.token(policies=["default"], ttl="1h", display_name="ops")
    add_openbao(cli, openbao)
    use_kept(cli, "vault")
    login(cli, "vault", token["client_token"])
    done = cli("-p", "vault", "whoami", "-o", "json")
    assert (done.json["subject"], done.json["scope"], done.json["origins"]) == ("token-ops", ["default"], [openbao.address])
    assert cli("-p", "vault", "logout", "--revoke", "-q").code == 0
    assert openbao.node.call(token["client_token"], "GET", "auth/token/lookup-self").status_code == 403


def test_an_app_role_logs_in_and_its_secret_id_is_destroyed_in_the_end(cli, openbao):
    openbao.policy("destroyer", **{"auth/approle/role/out/secret-id/destroy": ["update"]})
    role, secret_id = openbao.app_role("out", "destroyer")
    add_openbao(cli, openbao)
    use_kept(cli, "vault")
    login(cli, "vault", secret_id, "--role-id", role)
    assert cli("-p", "vault", "whoami", "-q").code == 0
    assert cli("-p", "vault", "logout", "--revoke", "-q").code == 0
    answer = openbao.node.call(None, "POST", "auth/approle/login", role_id=role, secret_id=secret_id)
    assert answer.status_code == 400


def test_a_secret_id_that_may_not_be_destroyed_is_not_forgotten(cli, openbao):
    role, secret_id = openbao.app_role("stays", "default")
    add_openbao(cli, openbao)
    use_kept(cli, "vault")
    login(cli, "vault", secret_id, "--role-id", role)
    done = cli("-p", "vault", "logout", "--revoke")
    assert (done.code, done.out) == (11, "")
    assert "auth/approle/role/stays/secret-id/destroy; nothing was forgotten" in done.err
    assert cli("-p", "vault", "whoami", "-q").code == 0


# doctor


def doctor(cli, *arguments, **env):
    done = cli("-p", arguments[0], "doctor", "-o", "json", *arguments[1:], env=env)
    return done.code, {found["check"]: found for found in done.json["findings"] if found["check"] in ("credential", "service")}


def test_doctor_tells_how_credential_service_and_clock_stand_and_shows_nothing(cli, oidc_provider, prod):
    login(cli, "prod", prod.secret)
    code, found = doctor(cli, "prod")
    assert code == 0
    assert found["credential"]["detail"] == f"the keyring's item profile/prod, secret, for {oidc_provider.issuer} alone"
    assert found["service"]["detail"].startswith("prod reachable in ")
    assert " days more" in found["service"]["detail"]
    done = cli("-p", "prod", "doctor")
    assert prod.secret[:12] not in done.out + done.err
    assert f"\tclock\t0.0 s from {oidc_provider.issuer}\t" in done.out
    (cli.home / "kept.json").unlink()
    code, found = doctor(cli, "prod")
    assert (code, found["credential"]["status"]) == (4, "fail")
    assert found["credential"]["mend"] == "python -m tokenctl -p prod login"


def test_doctor_tells_of_a_sealed_and_of_a_lost_openbao(cli, openbao, tmp_path, authority):
    with running(tmp_path / "own", authority) as server:
        add_openbao(cli, server)
        use_kept(cli, "vault")
        login(cli, "vault", server.root_token)
        assert doctor(cli, "vault")[0] == 0
        server.seal()
        code, found = doctor(cli, "vault")
        assert (code, found["service"]["detail"]) == (7, f"{server.address} is sealed")
    code, found = doctor(cli, "vault", "--timeout", "2s")
    assert (code, found["service"]["status"]) == (7, "fail")


def test_doctor_compares_clocks(cli, oidc_provider, prod):
    login(cli, "prod", prod.secret)
    done = cli.at(time.time_ns() // 1_000_000 + 300_000, "-p", "prod", "doctor")
    assert "this machine is ahead, or the service is wrong" in done.out


# The canary


def test_no_byte_of_a_credential_is_in_an_output_an_argument_or_a_file(cli, oidc_provider, desktop):
    """Whatever is asked, and however much is told; the Secret Service has it, and nobody else."""
    client, keyed = oidc_provider.register(), oidc_provider.register("private_key_jwt")
    add_oauth2(cli, oidc_provider, client)
    add_oauth2(cli, oidc_provider, keyed, name="keyed")
    secrets = [client.secret, client.registration_token, keyed.key["d"], keyed.registration_token]
    runs = [
        (("-p", "prod", "login", "-"), registration(client)), (("-p", "keyed", "login", "-"), by_key(keyed)),
        (("-p", "prod", "login", "-"), f"{client.secret}x"), (("-p", "keyed", "login", "-"), client.secret),
        (("-p", "prod", "login", "-", "--client-id", "other"), client.secret), (("-p", "prod", "whoami"), None),
        (("-p", "keyed", "whoami"), None), (("-p", "prod", "doctor"), None), (("-p", "keyed", "doctor"), None),
        (("-p", "prod", "whoami", "--timeout", "1ms"), None), (("-p", "prod", "login", "--rotate", "--yes"), None),
        (("-p", "prod", "login", "--rotate", "--in-place", "--yes"), None), (("-p", "keyed", "login", "--rotate", "--yes"), None),
        (("-p", "prod", "login", client.secret[:15]), None), (("-p", "prod", "logout", "--revoke"), None),
        (("-p", "keyed", "logout"), None), (("-p", "prod", "audit", "log"), None), (("profile", "remove", "prod", "--yes"), None),
    ]  # fmt: skip
    for arguments, given in runs:
        for more in (("--debug", "-v"), ("-o", "json", "--debug")):
            done = cli(*arguments, *more, input=given, env=desktop.env)
            assert done.code != 1, done.err
            for secret in secrets:
                assert secret[:12] not in done.out + done.err, (arguments, done)
                assert secret[-12:] not in done.out + done.err, (arguments, done)
    for path in cli.home.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in secrets if secret[:16].encode() in data], path

