"""``login --rotate``: whatever call fails and wherever it is killed, the operator is let in, and the same command goes on.

The services are real. What is lost or killed is decided in the process of the command, at the very call: there the server has
done what it was asked for, and the command has not heard of it.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import Result
from tests.remote_profiles import add_oauth2, add_openbao, kept, login, registration, use_kept
from tests.servers.oidc_provider import running

ROTATE = ("login", "--rotate", "--yes")
# Runs the program; before or after its n-th exchange with the service it is killed, or the answer is lost.
_STRUCK = """
import os, signal, sys, httpx
fate, number = sys.argv[1], int(sys.argv[2])
send, count = httpx.Client.send, 0
def struck(self, request, **options):
    global count
    count += 1
    if count == number and fate == "killed-before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = send(self, request, **options)
    if count == number and fate == "killed-after":
        answer.read()
        os.kill(os.getpid(), signal.SIGKILL)
    if count == number and fate == "lost":
        answer.read()
        raise httpx.ReadError("lost")
    return answer
httpx.Client.send = struck
from tokenctl.cli.boundary import run
code = run(sys.argv[3:], environment=os.environ, program="tokenctl")
print(f"exchanges {count}", file=sys.stderr)
sys.exit(code)
"""


def struck(cli, fate, number, *arguments, input=b"", env=None):
    """Run with a fate at the n-th exchange."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _STRUCK, fate, str(number), *arguments],
        env=cli.env | (env or {}), cwd=cli.home, input=input, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def lets_in(server, item):
    """Ask the server itself whether it accepts what is kept."""
    form = {"grant_type": "client_credentials", "client_id": item["client_id"]}
    if item["method"] == "private_key":
        from tests.servers.authorization_server import ASSERTION

        signed = server.assertion(item["client_id"], json.loads(item["secret"]))
        form |= {"client_assertion_type": ASSERTION, "client_assertion": signed}
        return server.http.post(server.metadata["token_endpoint"], data=form).status_code == 200
    answer = server.http.post(
        server.metadata["token_endpoint"], data={"grant_type": "client_credentials"}, auth=(item["client_id"], item["secret"])
    )
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


def outcomes(cli, name):
    log = cli("-p", name, "audit", "log", "--operation", "credential.rotate", "-o", "json").json["records"]
    return [record["outcome"] for record in sorted(log, key=lambda record: record["seq"])]


@pytest.fixture
def prod(cli, oidc_provider):
    """A client that manages itself, logged in."""
    return logged_in(cli, oidc_provider)


def logged_in(cli, server, method="client_secret_basic"):
    """Have what ``login`` leaves, without the time that it takes."""
    client = server.register(method)
    profiles = cli.home / ".config/tokenctl/profiles"
    profiles.mkdir(parents=True, mode=0o700)
    (profiles / "prod.toml").write_text(
        f'backend = "oauth2"\nissuer = "{server.issuer}"\n[service]\nca_file = "{server.ca_file}"\nclient_auth = "{method}"\n'
    )
    (profiles / "prod.toml").chmod(0o600)
    file = use_kept(cli, "prod")
    told = {
        "v": 1, "method": "private_key" if client.key else "secret",
        "secret": json.dumps(client.key) if client.key else client.secret,
        "client_id": client.id, "registration_uri": client.registration_uri, "registration_token": client.registration_token,
        "origins": [server.issuer],
    }  # fmt: skip
    file.write_text(json.dumps({"tokenctl profile/prod": json.dumps(told)}))
    return client


def item(cli, name="prod"):
    return kept(cli.home / "kept.json", name)


# Another client


def rotate(cli, oidc_provider, *more):
    return cli("-p", "prod", *ROTATE, "-", *more, input=oidc_provider.initial_access_token)


def test_another_client_takes_the_place_and_the_former_one_is_deleted(cli, oidc_provider, prod):
    before = item(cli)
    done = rotate(cli, oidc_provider)
    assert (done.code, done.out) == (0, "")
    after = item(cli)
    assert after["client_id"] != before["client_id"]
    assert after.keys() == before.keys()
    assert (lets_in(oidc_provider, after), lets_in(oidc_provider, before)) == (True, False)
    assert cli("-p", "prod", "whoami", "-o", "json").json["subject"] == after["client_id"]
    assert outcomes(cli, "prod") == ["pending", "done"]
    assert cli("-p", "prod", "audit", "verify", "-q").code == 0


def test_a_server_that_wants_an_initial_access_token_says_so_and_nothing_changes(cli, oidc_provider, prod):
    before = item(cli)
    done = cli("-p", "prod", *ROTATE)
    assert (done.code, done.out) == (4, "")
    assert done.err.endswith("hint: python -m tokenctl -p prod login --rotate - < FILE, which holds that token\n")
    assert item(cli) == before
    assert outcomes(cli, "prod") == ["pending", "failed"]


def test_where_anybody_may_register_no_token_is_wanted(cli, django_toolkit):
    logged_in(cli, django_toolkit)
    before = item(cli)
    done = cli("-p", "prod", *ROTATE, "-o", "json")
    assert done.code == 0, done.err
    assert (done.json["action"], done.json["way"]) == ("rotate", "another_client")
    assert (lets_in(django_toolkit, item(cli)), lets_in(django_toolkit, before)) == (True, False)


def test_a_client_that_cannot_manage_itself_is_told_the_nearest_thing(cli, oidc_provider):
    client = oidc_provider.register()
    add_oauth2(cli, oidc_provider, client)
    use_kept(cli, "prod")
    login(cli, "prod", client.secret)
    done = cli("-p", "prod", *ROTATE)
    assert (done.code, done.out) == (9, "")
    assert done.err.endswith("hint: make a new secret at the service, then: python -m tokenctl -p prod login -\n")


def test_nothing_is_done_unasked(cli, oidc_provider, prod):
    before = item(cli)
    done = cli("-p", "prod", "login", "--rotate", "-", input=oidc_provider.initial_access_token)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: not confirmed: nothing was rotated\n")
    assert item(cli) == before


def test_a_credential_in_a_file_is_rotated_there(cli, oidc_provider):
    client = oidc_provider.register()
    add_oauth2(cli, oidc_provider)
    path = cli.home / "credential"
    path.write_text(registration(client))
    path.chmod(0o600)
    options = ("--credential-file", str(path))
    done = rotate(cli, oidc_provider, *options)
    assert (done.code, done.out) == (0, ""), done.err
    after = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert after["origins"] == [oidc_provider.issuer]
    assert (after["secret"] != client.secret, lets_in(oidc_provider, after)) == (True, True)
    assert cli("-p", "prod", "whoami", "-q", *options).code == 0


# Killed having heard of the one before, not having heard of this one, or its answer is lost: of each call that matters.
FATES = [("killed-after", number) for number in range(1, 8)] + [
    ("killed-before", 3), ("killed-before", 5), ("lost", 2), ("lost", 5)
]  # fmt: skip


@pytest.mark.parametrize(("fate", "number"), FATES, ids=lambda part: str(part))
def test_whatever_exchange_ends_it_the_operator_is_let_in(cli, oidc_provider, prod, fate, number):
    before = item(cli)
    token = oidc_provider.initial_access_token.encode()
    done = struck(cli, fate, number, "-p", "prod", *ROTATE, "-", input=token)
    if fate == "lost":
        assert done.code in (0, 7, 11), done.err
    elif "exchanges" not in done.err:
        assert done.code == -9
    assert lets_in(oidc_provider, item(cli)), (fate, number)
    again = rotate(cli, oidc_provider)
    assert again.code == 0, again.err
    after = item(cli)
    assert (lets_in(oidc_provider, after), lets_in(oidc_provider, before)) == (True, False)
    assert "former" not in after
    assert "fresh" not in after


@pytest.mark.parametrize("number", [3, 5, 7, 9])
def test_whatever_call_of_the_keyring_ends_it_the_operator_is_let_in(cli, oidc_provider, prod, number):
    cli("-p", "prod", *ROTATE, "-", input=oidc_provider.initial_access_token, env={"KEPT_FAULT": f"killed-before:{number}"})
    assert lets_in(oidc_provider, item(cli))
    assert rotate(cli, oidc_provider).code == 0
    assert lets_in(oidc_provider, item(cli))


def test_doctor_tells_of_a_rotation_that_did_not_end(cli, oidc_provider, prod):
    token = oidc_provider.initial_access_token.encode()
    for number in range(1, 12):
        struck(cli, "killed-before", number, "-p", "prod", *ROTATE, "-", input=token)
        if "former" in item(cli):
            break
    findings = cli("-p", "prod", "doctor", "-o", "json").json["findings"]
    assert ("warn", "python -m tokenctl -p prod login --rotate") in {(found["status"], found["mend"]) for found in findings}
    done = cli("-p", "prod", "logout", "--revoke")
    assert (done.code, done.out) == (6, "")
    assert cli("-p", "prod", "login", "--rotate", "-q").code == 0  # nothing new is begun, so nothing is asked
    assert "former" not in item(cli)


# A second key


@pytest.fixture
def keyed(cli, oidc_provider):
    return logged_in(cli, oidc_provider, "private_key_jwt")


def test_a_second_key_takes_the_place_of_the_first(cli, oidc_provider, keyed):
    before = item(cli)
    done = cli("-p", "prod", *ROTATE, "-o", "json")
    assert (done.code, done.json["way"], done.json["subject"]) == (0, "second_key", keyed.id)
    after = item(cli)
    assert after["client_id"] == before["client_id"]
    assert (lets_in(oidc_provider, after), lets_in(oidc_provider, before)) == (True, False)
    assert cli("-p", "prod", *ROTATE).code == 0  # the registration access token that came back counts


@pytest.mark.parametrize(("fate", "number"), [*(("killed-after", number) for number in range(1, 7)), ("lost", 2)])
def test_a_key_in_use_is_accepted_whatever_exchange_ends_it(cli, oidc_provider, keyed, fate, number):
    struck(cli, fate, number, "-p", "prod", *ROTATE)
    assert lets_in(oidc_provider, item(cli)), (fate, number)
    # A registration access token that was lost with its answer manages nothing more, which is told; the client is let in.
    done = cli("-p", "prod", *ROTATE)
    assert done.code in (0, 4, 11), done.err
    assert lets_in(oidc_provider, item(cli))


# In place


@pytest.fixture(scope="module")
def replacing(tmp_path_factory, authority):
    """A server whose update of a client brings a fresh secret."""
    with running(tmp_path_factory.mktemp("replacing") / "x", authority, replaces_secret=True) as server:
        yield server


@pytest.fixture(scope="module")
def telling(tmp_path_factory, authority):
    """One at which the registration access token outlives that, too."""
    with running(
        tmp_path_factory.mktemp("telling") / "x", authority, replaces_secret=True, keeps_registration_token=True
    ) as server:
        yield server


IN_PLACE = (*ROTATE, "--in-place")


def test_an_update_that_replaces_the_secret_is_followed(cli, replacing):
    logged_in(cli, replacing)
    for _ in range(2):
        before = item(cli)
        done = cli("-p", "prod", *IN_PLACE)
        assert (done.code, done.out) == (0, ""), done.err
        after = item(cli)
        assert (after["client_id"], after.keys()) == (before["client_id"], before.keys())
        assert after["registration_token"] != before["registration_token"]
        assert (lets_in(replacing, after), lets_in(replacing, before)) == (True, False)


def test_an_update_that_replaces_nothing_is_told_and_what_manages_the_client_is_kept(cli, oidc_provider, prod):
    before = item(cli)
    done = cli("-p", "prod", *IN_PLACE)
    assert (done.code, done.out) == (9, "")
    assert "does not replace a secret by an update of its client" in done.err
    after = item(cli)
    assert after["registration_token"] != before["registration_token"]
    assert after["secret"] == before["secret"]
    assert rotate(cli, oidc_provider).code == 0


@pytest.mark.parametrize(("fate", "number"), [*(("killed-after", number) for number in range(2, 6)), ("lost", 4)])
def test_an_update_whose_answer_is_lost_is_told_anew(cli, telling, fate, number):
    logged_in(cli, telling)
    before = item(cli)
    struck(cli, fate, number, "-p", "prod", *IN_PLACE)
    done = cli("-p", "prod", *IN_PLACE)
    assert done.code == 0, done.err
    assert (lets_in(telling, item(cli)), lets_in(telling, before)) == (True, False)


def test_a_secret_that_nobody_tells_any_more_is_an_administrators_affair(cli, replacing):
    logged_in(cli, replacing)
    codes = []
    for number in range(2, 8):
        struck(cli, "killed-after", number, "-p", "prod", *IN_PLACE)
        if not lets_in(replacing, item(cli)):
            done = cli("-p", "prod", *IN_PLACE)
            codes.append(done.code)
            assert "let whoever runs the service give the client a new secret" in done.err
            break
    assert codes == [4]


# OpenBao


def token_of(openbao, **request):
    openbao.policy("renewing", **{"auth/token/create-orphan": ["update"], "auth/token/create": ["update"]})
    return openbao.token(policies=["renewing", "default"], ttl="1h", no_parent=True, **request)["client_token"]


def accepts(openbao, token):
    return openbao.node.call(openbao.root_token, "POST", "auth/token/lookup", token=token).status_code == 200


def test_a_token_of_openbao_gives_way_to_one_with_the_same_policies(cli, openbao):
    before = token_of(openbao, meta={"subject": "ops"}, renewable=True)
    add_openbao(cli, openbao)
    use_kept(cli, "vault")
    login(cli, "vault", before)
    done = cli("-p", "vault", *ROTATE, "-o", "json")
    assert (done.code, done.json["way"]) == (0, "another_token"), done.err
    after = item(cli, "vault")["secret"]
    assert (accepts(openbao, after), accepts(openbao, before)) == (True, False)
    data = openbao.node.call(after, "GET", "auth/token/lookup-self").json()["data"]
    assert (data["policies"], data["meta"], data["creation_ttl"], data["orphan"]) == (
        ["default", "renewing"], {"subject": "ops"}, 3600, True,
    )  # fmt: skip


def test_a_token_that_others_would_die_with_stays_until_it_may_go(cli, openbao):
    before = token_of(openbao)
    add_openbao(cli, openbao)
    use_kept(cli, "vault")
    login(cli, "vault", before)
    issued = cli("-p", "vault", "issue", "--subject", "s", "--scope", "renewing", "-q")
    assert issued.code == 0, issued.err
    done = cli("-p", "vault", *ROTATE)
    assert (done.code, done.out) == (11, "")
    assert "what was issued through this profile may die with it (living: 1)" in done.err
    assert accepts(openbao, item(cli, "vault")["secret"])
    assert (accepts(openbao, before), accepts(openbao, issued.out.strip())) == (True, True)
    openbao.policy(
        "renewing", **{"auth/token/create-orphan": ["update"], "auth/token/revoke-orphan": ["update", "sudo"]}
    )  # fmt: skip
    assert cli("-p", "vault", *ROTATE).code == 0
    assert (accepts(openbao, before), accepts(openbao, issued.out.strip())) == (False, True)


def test_a_token_that_may_make_no_orphan_says_which_right_it_lacks(cli, openbao):
    before = openbao.token(policies=["default"], ttl="1h")["client_token"]
    add_openbao(cli, openbao)
    use_kept(cli, "vault")
    login(cli, "vault", before)
    done = cli("-p", "vault", *ROTATE)
    assert (done.code, done.out) == (4, "")
    assert f"the credential may not use auth/token/create-orphan at {openbao.address}: nothing was changed" in done.err
    assert accepts(openbao, before)


def app_role(openbao, name):
    role = f"auth/approle/role/{name}/secret-id"
    openbao.policy(name, **{path: ["update"] for path in (role, f"{role}/lookup", f"{role}/destroy")})
    return openbao.app_role(name, name)


def logs_in(openbao, role, secret_id):
    return openbao.node.call(None, "POST", "auth/approle/login", role_id=role, secret_id=secret_id).status_code == 200


def test_a_secret_id_gives_way_to_another_with_the_same_bindings(cli, openbao):
    role, _ = app_role(openbao, "bound")
    made = openbao.sudo("POST", "auth/approle/role/bound/secret-id", cidr_list="127.0.0.0/8", metadata='{"team": "a"}')
    before = made["data"]["secret_id"]
    add_openbao(cli, openbao)
    use_kept(cli, "vault")
    login(cli, "vault", before, "--role-id", role)
    done = cli("-p", "vault", *ROTATE)
    assert (done.code, done.out) == (0, ""), done.err
    after = item(cli, "vault")["secret"]
    assert (logs_in(openbao, role, after), logs_in(openbao, role, before)) == (True, False)
    data = openbao.sudo("POST", "auth/approle/role/bound/secret-id/lookup", secret_id=after)["data"]
    assert (data["cidr_list"], data["metadata"]) == (["127.0.0.0/8"], {"team": "a"})


@pytest.mark.parametrize(("fate", "number"), [*(("killed-after", number) for number in (2, 4, 6, 8)), ("lost", 3)])
@pytest.mark.parametrize("kind", ["token", "approle"])
def test_whatever_exchange_with_openbao_ends_it_the_operator_is_let_in(cli, openbao, kind, fate, number):
    add_openbao(cli, openbao)
    use_kept(cli, "vault")
    if kind == "approle":
        role, before = app_role(openbao, f"r-{fate}-{number}")
        login(cli, "vault", before, "--role-id", role)
    else:
        login(cli, "vault", token_of(openbao))
    struck(cli, fate, number, "-p", "vault", *ROTATE)
    done = cli("-p", "vault", *ROTATE)
    assert done.code == 0, done.err
    assert cli("-p", "vault", "whoami", "-q").code == 0
    assert not {"fresh", "former"} & item(cli, "vault").keys()


# A service that lies


def test_a_service_that_does_not_accept_what_it_hands_out_changes_nothing(cli, oidc_provider, prod):
    before = item(cli)
    code = (
        "import httpx, json, os, sys\nsend = httpx.Client.send\n"
        "def lying(self, request, **options):\n"
        "    answer = send(self, request, **options)\n"
        "    if request.method == 'POST' and request.url.path == '/reg':\n"
        "        told = json.loads(answer.read()) | {'client_secret': 'made up'}\n"
        "        return httpx.Response(201, stream=httpx.ByteStream(json.dumps(told).encode()), request=request)\n"
        "    return answer\n"
        "httpx.Client.send = lying\n"
        "from tokenctl.cli.boundary import run\n"
        "sys.exit(run(sys.argv[1:], environment=os.environ, program='tokenctl'))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "-p", "prod", *ROTATE, "-"],
        env=cli.env, cwd=cli.home, input=oidc_provider.initial_access_token.encode(),
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (8, b"")
    assert b"does not accept the credential that it handed out: the one before stays in use" in done.stderr
    assert {name: value for name, value in item(cli).items() if name != "registration_token"} == {
        name: value for name, value in before.items() if name != "registration_token"
    }
    assert lets_in(oidc_provider, item(cli))
    assert outcomes(cli, "prod") == ["pending", "failed"]
