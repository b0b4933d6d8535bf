"""``profile trust``: what is fetched and confirmed first, what is written, and that the rest of the file stays."""

from __future__ import annotations

import tomllib

import pytest

from tests.conftest import Cli
from tests.servers.breaker import PASS, breaking
from tests.servers.django_toolkit import DjangoToolkit
from tests.servers.liar import DISCOVERY, Liar

HAND_WRITTEN = """# mine
default_audience = "x"   # stays

[[rule]]   # as it is
name = "all"
scopes = ["*"]

[review]
never_used = "7d"
"""


def trust(cli: Cli, server: Liar | DjangoToolkit, *arguments: str) -> tuple[int, str, str]:
    done = cli("profile", "trust", server.issuer, "--ca-file", str(server.ca_file), *arguments)
    return done.code, done.out, done.err


def written(cli: Cli) -> dict[str, object]:
    return tomllib.loads((cli.home / ".config/tokenctl/profiles/local.toml").read_text())


def test_the_file_of_a_profile_is_extended_and_everything_else_in_it_stays(cli: Cli, liar: Liar) -> None:
    path = cli.home / ".config/tokenctl/profiles/local.toml"
    path.parent.mkdir(mode=0o700, parents=True)
    path.write_text(HAND_WRITTEN)
    path.chmod(0o600)
    assert trust(cli, liar) == (0, "", "")
    assert path.read_text().startswith(HAND_WRITTEN)
    assert written(cli)["trust"] == [{"issuer": liar.issuer, "ca_file": str(liar.ca_file)}]
    before = path.read_bytes()
    assert trust(cli, liar) == (0, "", "")
    assert path.read_bytes() == before
    assert cli("profile", "trust", liar.issuer, "--remove").code == 0
    assert path.read_text().rstrip() == HAND_WRITTEN.rstrip()


def test_it_is_told_and_asked_for_nothing_that_is_there(cli: Cli, liar: Liar) -> None:
    assert cli("profile", "add", "x").code == 0
    assert trust(cli, liar, "-p", "x")[0] == 0
    assert cli("profile", "add", "x").code == 0  # what is trusted is no other setting
    (told,) = cli("profile", "show", "x", "-o", "json").json["trust"]
    assert told == {"issuer": liar.issuer, "ca_file": str(liar.ca_file)}
    assert f"trust\t(issuer {liar.issuer}, ca_file {liar.ca_file})\n" in cli("profile", "show", "x").out


def test_keys_at_another_origin_are_confirmed_and_a_later_change_is_a_hard_stop(
    cli: Cli, liar: Liar, authority: object
) -> None:
    token = liar.issue(liar.client)["access_token"]
    with breaking(liar.issuer, authority, lambda *_: PASS) as breaker:
        with liar.telling(DISCOVERY, jwks_uri=f"{breaker.url}/jwks"):
            code, out, err = trust(cli, liar)
            assert (code, out, err.splitlines()[0]) == (2, "", f"notice: {liar.issuer} has its keys at {breaker.url}")
            assert breaker.asked == []
            assert not (cli.home / ".config").exists()
            assert trust(cli, liar, "--yes") == (0, "", "")
            assert trust(cli, liar) == (0, "", "")  # confirmed once
            assert written(cli)["trust"][0]["origins"] == [breaker.url]
            assert cli("inspect", "-", "-q", input=token).code == 0
        with liar.telling(DISCOVERY, jwks_uri="https://thief.example/jwks"):
            (folder,) = (cli.home / ".cache/tokenctl/local/issuers").iterdir()
            (folder / "metadata").unlink()
            stopped = cli("inspect", "-", input=token)
    assert (stopped.code, stopped.out) == (8, "")
    assert stopped.err.splitlines()[0].endswith("names an endpoint at https://thief.example, which was never confirmed: "
                                                "nothing was sent there")  # fmt: skip


def test_a_token_of_another_audience_named_by_nobody_needs_no_audience(cli: Cli, liar: Liar) -> None:
    trust(cli, liar)
    token = liar.issue(liar.client, "a:read")["access_token"]
    done = cli("inspect", "-", "-o", "json", input=token)
    assert (done.code, done.json["scope"]) == (0, ["a:read"])
    assert {"name": "trust", "ok": True, "detail": f"the profile trusts {liar.issuer}"} in done.json["checks"]
    assert cli("inspect", "-", "--use", "-q", input=token).code == 0


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("http://as.example", 2, "URL: a URL is https"), ("nonsense", 2, "URL: "),
        ("https://user@as.example", 2, "URL: a URL is https without user name"),
        ("https://127.0.0.1:1", 7, "was not reached"),
    ],
)  # fmt: skip
def test_what_is_no_issuer_is_not_trusted(cli: Cli, url: str, code: int, why: str) -> None:
    done = cli("profile", "trust", url)
    assert (done.code, done.out) == (code, "")
    assert why in done.err
    assert not (cli.home / ".config").exists()


def test_an_issuer_without_keys_is_not_trusted(cli: Cli, django_toolkit: DjangoToolkit) -> None:
    code, _, err = trust(cli, django_toolkit)
    assert (code, err) == (8, f"tokenctl: {django_toolkit.issuer} shows no keys (jwks_uri)\n")


def test_the_issuer_of_the_profile_itself_needs_no_trust(cli: Cli, liar: Liar) -> None:
    cli("profile", "add", "x", "--issuer", liar.issuer)
    code, _, err = trust(cli, liar, "-p", "x")
    assert (code, err) == (2, f"tokenctl: {liar.issuer} is the issuer of profile x itself\n")


@pytest.mark.parametrize(
    "table",
    ['trust = "x"', "[trust]\nissuer = \"x\"", "[[trust]]\nissuer = 1", '[[trust]]\nissuer = "https://x"\nother = 1',
     '[[trust]]\nissuer = "https://x"\nca_file = "relative"', '[[trust]]\nissuer = "https://x"\n[[trust]]\nissuer = "https://x"'],
)  # fmt: skip
def test_a_table_that_is_not_understood_is_named(cli: Cli, table: str) -> None:
    path = cli.home / ".config/tokenctl/profiles/local.toml"
    path.parent.mkdir(mode=0o700, parents=True)
    path.write_text(table + "\n")
    path.chmod(0o600)
    done = cli("profile", "show")
    assert done.code == 9
    assert "trust" in done.err


def test_a_file_of_another_style_is_left_to_an_editor(cli: Cli, liar: Liar) -> None:
    path = cli.home / ".config/tokenctl/profiles/local.toml"
    path.parent.mkdir(mode=0o700, parents=True)
    path.write_text(f'trust = [{{issuer = "{liar.issuer}"}}]\n')
    path.chmod(0o600)
    done = cli("profile", "trust", liar.issuer, "--remove")
    assert (done.code, done.out) == (6, "")
    assert "change it with an editor" in done.err
