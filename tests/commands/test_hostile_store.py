"""A writer of the store who lacks the root secret: nothing is told as done that he can take back."""

from __future__ import annotations

import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


def change(cli, statement: str) -> None:
    with sqlite3.connect(cli.store) as connection:
        connection.execute(statement)
    connection.close()


def test_a_row_forged_as_revoked_is_revoked_for_good_with_a_record(cli):
    token = cli.token()
    identifier = cli.id_of(token)
    change(cli, "UPDATE token SET revoked_at = 1")
    done = cli("revoke", identifier, "--yes", "-o", "json")
    assert (done.code, done.json["targets"][0]["outcome"]) == (0, "revoked")
    change(cli, "UPDATE token SET revoked_at = NULL, revoked_by = NULL, reason = NULL, revoked_request = NULL")
    assert cli("inspect", "-", "-q", input=token).code == 10
    again = cli("revoke", identifier, "--yes", "-o", "json")
    assert (again.code, again.json["targets"][0]["outcome"]) == (0, "already_revoked")


def test_an_older_row_put_back_after_a_revocation_is_not_believed(cli):
    token = cli.token()
    with sqlite3.connect(cli.store) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(token)")]
        old = connection.execute("SELECT * FROM token").fetchone()
    connection.close()
    assert cli("revoke", cli.id_of(token), "--yes").code == 0
    with sqlite3.connect(cli.store) as connection:
        connection.execute(f"UPDATE token SET {', '.join(f'{name} = ?' for name in names)}", old)
    connection.close()
    assert cli("inspect", "-", "-q", input=token).code == 10


def test_a_token_whose_verifier_was_changed_is_unverified_and_never_0(cli):
    token, other = cli.token(), cli.token()
    change(cli, f"UPDATE token SET verifier = zeroblob(32) WHERE id = '{cli.id_of(token)}'")
    assert cli("inspect", "-", "-q", input=token).code == 10
    done = cli("revoke", "-", "--yes", "-o", "json", input=f"{token}\n{other}\n")
    assert done.code == 11
    assert {target["id"]: target["outcome"] for target in done.json["targets"]} == {
        cli.id_of(token): "unverified",
        cli.id_of(other): "revoked",
    }


def test_a_jwt_whose_key_row_was_changed_is_unverified(cli):
    jwt = cli.token("--format", "jwt", "--audience", "a")
    change(cli, "UPDATE key SET public = '{}'")
    assert cli("inspect", "-", "--audience", "a", "-q", input=jwt).code == 10
    assert cli("revoke", "-", "--yes", input=jwt).code == 11
    assert cli("rotate-keys", "status").code == 10


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET nonce = zeroblob(48) WHERE seq = 2",
        "UPDATE meta SET value = 1 WHERE name = 'created_at'",
        "INSERT INTO request VALUES ('root@x', 'planted', x'00', 1)",
        "INSERT INTO tag VALUES ('scope', 'planted', 1, 'planted')",
        "UPDATE record SET time = 9223372036854775807 WHERE seq = (SELECT max(seq) FROM record)",
        "UPDATE head SET time = 0",
        "UPDATE token SET subject = CAST(x'ff' AS TEXT)",
    ],
)
def test_verify_finds_a_change_outside_the_rows_of_tokens(cli, statement):
    cli.token("--request-id", "r1")
    assert cli("audit", "verify", "-q").code == 0
    change(cli, statement)
    assert cli("audit", "verify", "-q").code == 10


def test_a_request_whose_row_was_deleted_still_mints_no_second_token(cli):
    cli.token("--request-id", "r1")
    change(cli, "DELETE FROM request")
    assert cli("issue", "--subject", "someone", "--request-id", "r1", "-q").code == 6


def test_a_record_nested_without_end_is_a_no_and_not_a_fault_of_the_caller(cli):
    cli.token()
    change(cli, f"UPDATE record SET body = CAST('{'[' * 3000}' AS BLOB) WHERE seq = 2")
    assert cli("audit", "verify", "-q").code == 10
    assert cli("audit", "log").code == 10


def test_a_chain_of_parents_ends_at_64_generations(cli):
    import os
    import subprocess
    import sys

    code = (
        "import io, os, sys, time, json\n"
        "from tokenctl.cli.boundary import run\n"
        "parent, codes = None, []\n"
        "for number in range(66):\n"
        "    more = ['--parent', parent] if parent else []\n"
        "    out = f'{os.environ[\"HOME\"]}/t{number}'\n"
        "    now = time.time_ns() // 10**6\n"
        "    given = {'environment': os.environ, 'program': 't', 'now': now}\n"
        "    codes.append(run(['issue', '--subject', 's', '--ttl', f'{3600 - 20 * number}s', '--out', out, *more], **given))\n"
        "    if codes[-1]: break\n"
        "    parent = open(out).read().split('_')[2]\n"
        "print(len(codes), codes[-1])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=cli.env | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    count, last = done.stdout.splitlines()[-1].split()
    assert (int(count), last) == (65, "12")
    assert cli("list", "-q").code == 0


def test_leeway_revives_none_of_our_own_tokens(cli):
    now = time.time_ns() // 1_000_000
    jwt = cli.token("--format", "jwt", "--audience", "a", "--ttl", "1m")
    assert cli.at(now + 90_000, "inspect", "-", "--audience", "a", "--leeway", "5m", "-q", input=jwt).code == 3


def test_an_id_where_a_token_may_be_meant_says_that_nothing_is_proved(cli):
    identifier = cli.id_of(cli.token())
    done = cli("inspect", "-", "-o", "json", input=identifier)
    assert done.code == 0
    assert done.json["checks"][0] == {
        "name": "presented", "ok": None, "detail": "an id was given, no token: nothing is proved"
    }  # fmt: skip


def test_use_spends_nothing_when_a_line_names_an_id(cli):
    token = cli.token("--max-uses", "1")
    assert cli("inspect", "--use", "-", "-q", input=f"{token}\n{cli.id_of(token)}\n").code == 2
    assert cli("inspect", "--use", "-", "-q", input=token).code == 0


def test_the_jwks_is_not_written_over_a_file_of_our_own(cli):
    cli.token("--format", "jwt", "--audience", "a")
    before = cli.root_secret.read_bytes()
    assert cli("rotate-keys", "jwks", "--out", str(cli.root_secret)).code == 2
    assert cli("issue", "--subject", "s", "--out", str(cli.store.parent / "x")).code == 2
    assert cli.root_secret.read_bytes() == before


@pytest.mark.parametrize("arguments", [("inspect", "-", "--jwks"), ("revoke", "--yes", "--from"), ("inspect", "--file")])
def test_a_pipe_that_nobody_writes_keeps_nobody_waiting(cli, arguments):
    import os

    os.mkfifo(cli.home / "fifo")
    done = cli(*arguments, str(cli.home / "fifo"), input="x")
    assert done.code == 2
    assert "not a regular file" in done.err


def test_a_server_that_drips_is_left_at_the_deadline(cli):
    class Drip(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(200):
                try:
                    self.wfile.write(b" ")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.1)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Drip)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = cli("inspect", "-", "--jwks", f"http://127.0.0.1:{server.server_port}/", "--timeout", "1s", input="a.b.c")
    finally:
        server.shutdown()
        server.server_close()
    assert done.code == 7
    assert "did not answer in time" in done.err


@pytest.mark.parametrize("limit", ["0", "-1", "99999999999999999999"])
@pytest.mark.parametrize("verb", [("list",), ("audit", "log")])
def test_an_absurd_limit_is_refused(cli, verb, limit):
    assert cli(*verb, "--limit", limit).code == 2


@pytest.mark.parametrize(("arguments", "code"), [(("-q",), 2), (("-q", "-V"), 0), (("--no-input", "--version"), 0)])
def test_without_a_verb_there_is_help_or_the_version(cli, arguments, code):
    done = cli(*arguments)
    assert done.code == code
    assert done.out.startswith("tokenctl ") == (code == 0)
    assert ("Usage:" in done.err) == (code == 2)


def test_json_of_several_is_a_list_also_when_one_is_unknown(cli):
    identifier = cli.id_of(cli.token())
    done = cli("inspect", identifier, "0352LfUPGZdlUUKzxU8sHX", "-o", "json")
    assert done.code == 5
    assert [(token["id"], token["state"]) for token in done.json["tokens"]] == [
        (identifier, "active"),
        ("0352LfUPGZdlUUKzxU8sHX", "unknown"),
    ]


def test_a_token_that_a_second_run_replaced_before_it_was_read_is_told_as_undelivered(cli):
    import os
    import subprocess
    import sys

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    wanted = [sys.executable, "-m", "tokenctl", "issue", "--subject", "someone", "--request-id", "r1", "-q"]
    first = subprocess.Popen(wanted, env=cli.env, cwd=cli.home, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    for _ in range(600):
        if cli.store.exists() and cli("list").out:
            break
        time.sleep(0.05)
    second = cli.token("--request-id", "r1")
    while os.read(reader, 65536):
        pass
    os.close(reader)
    _, complaint = first.communicate(timeout=60)
    assert first.returncode == 7
    assert b"reached its taker too late" in complaint
    assert cli("inspect", "-", "-q", input=second).code == 0
