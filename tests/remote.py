"""A profile of a remote service for the tests: its file, and the operator's credential beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import Cli, Result
from tests.servers.authorization_server import AuthorizationServer, Client


class AtServer:
    """The real program with a profile at an authorization server, and its client's credential in a file.

    Attributes:
        name: The profile's.
        client: The operator's client there.
    """

    def __init__(self, cli: Cli, server: AuthorizationServer, client: Client, *, name: str = "prod") -> None:
        self.cli = cli
        self.server = server
        self.client = client
        self.name = name
        write_profile(cli.home, name, server.issuer, server.ca_file, client)
        self.credential = write_credential(cli.home, name, client)

    def __call__(self, verb: str, *arguments: str, input: str | bytes | None = None, **options: object) -> Result:
        return self.cli(
            verb, "-p", self.name, "--credential-file", str(self.credential), *arguments, input=input, **options
        )  # fmt: skip

    def issued(self, *arguments: str) -> tuple[str, str]:
        """Issue a token; return its id and its text."""
        done = self("issue", "-o", "json", *arguments)
        assert done.code == 0, done.err
        return str(done.json["id"]), str(done.json["token"])

    def records(self) -> list[tuple[str, object, object]]:
        """Return operation, reason and outcome of every record, the oldest first."""
        done = self.cli("audit", "log", "-p", self.name, "-o", "jsonl", "--limit", "1000")
        assert done.code == 0, done.err
        return [(str(line["operation"]), line["reason"], line["outcome"]) for line in done.lines]


def write_profile(home: Path, name: str, issuer: str, ca_file: Path, client: Client, **settings: object) -> Path:
    """Write the file of a profile at an authorization server.

    Args:
        settings: Further settings of the table ``[service]``.
    """
    path = home / ".config/tokenctl/profiles" / f"{name}.toml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (path.parents[2], path.parents[1]):
        folder.chmod(0o700)
    service: Mapping[str, object] = {
        "client_id": client.id, "client_auth": client.method, "ca_file": str(ca_file), **settings
    }  # fmt: skip
    lines = ['backend = "oauth2"', f"issuer = {json.dumps(issuer)}", "[service]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in service.items()]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def write_credential(home: Path, name: str, client: Client) -> Path:
    """Write what a client proves itself with, as the operator hands it in."""
    path = home / f"{name}.credential"
    path.touch(mode=0o600)
    path.write_text(client.secret if client.key is None else json.dumps(client.key))
    return path
