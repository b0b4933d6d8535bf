"""Profiles of real services, and the credentials that their operators log in with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import Cli, Result
from tests.servers.authorization_server import AuthorizationServer, Client
from tests.servers.openbao import OpenBao

KEYRINGS = Path(__file__).parent / "keyrings"


def add_oauth2(cli: Cli, server: AuthorizationServer, client: Client | None = None, *, name: str = "prod") -> None:
    """Make the profile of an authorization server."""
    named = () if client is None else ("--client-id", client.id, "--client-auth", client.method)
    done = cli(
        "profile", "add", name, "--backend", "oauth2", "--issuer", server.issuer, "--ca-file", str(server.ca_file), *named
    )  # fmt: skip
    assert done.code == 0, done.err


def add_openbao(cli: Cli, server: OpenBao, *, name: str = "vault") -> None:
    done = cli("profile", "add", name, "--backend", "openbao", "--address", server.address, "--ca-file", str(server.ca_file))
    assert done.code == 0, done.err


def use_kept(cli: Cli, name: str) -> Path:
    """Let a profile keep its credential in the keyring of the tests; return the file of that."""
    profile = cli.home / f".config/tokenctl/profiles/{name}.toml"
    profile.write_text(f'keyring_backend = "kept.Kept"\n{profile.read_text()}')
    cli.env |= {"PYTHONPATH": str(KEYRINGS), "KEPT": str(cli.home / "kept.json")}
    return cli.home / "kept.json"


def kept(file: Path, name: str) -> dict[str, Any]:
    """Return what the keyring of the tests has for a profile."""
    return dict(json.loads(json.loads(file.read_text())[f"tokenctl profile/{name}"]))


def registration(client: Client) -> str:
    """Return what the server answered to the registration of a client, as far as it counts."""
    return json.dumps(
        {
            "client_id": client.id, "client_secret": client.secret, "registration_access_token": client.registration_token,
            "registration_client_uri": client.registration_uri,
        }
    )  # fmt: skip


def by_key(client: Client) -> str:
    """Return the credential of a client with a key that manages itself, as a file has it."""
    return json.dumps(
        {
            "v": 1, "method": "private_key", "secret": json.dumps(client.key), "client_id": client.id,
            "registration_uri": client.registration_uri, "registration_token": client.registration_token,
        }
    )  # fmt: skip


def login(cli: Cli, name: str, credential: str, *options: str, env: dict[str, str] | None = None) -> Result:
    done = cli("-p", name, "login", "-", *options, input=credential, env=env)
    assert done.code == 0, done.err
    return done
