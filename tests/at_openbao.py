"""A profile of OpenBao for the tests: its file, and the operator's credential beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import Cli, Result
from tests.servers.openbao import OpenBao


class AtOpenBao:
    """The real program with a profile at OpenBao, and the operator's token in a file.

    Attributes:
        name: The profile's.
        credential: The file of the operator's token; the root token at first.
    """

    def __init__(self, cli: Cli, server: OpenBao, *, name: str = "vault", address: str | None = None, **settings: str) -> None:
        self.cli = cli
        self.server = server
        self.name = name
        folder = cli.home / ".config/tokenctl/profiles"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for above in (folder.parents[1], folder.parent):
            above.chmod(0o700)
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        path = folder / f"{name}.toml"
        served = ['backend = "openbao"', "[service]", f'address = "{address or server.address}"', f'ca_file = "{server.ca_file}"']
        path.write_text("\n".join([*served, *lines]))
        path.chmod(0o600)
        self.credential = self.hand_in(server.root_token)

    def hand_in(self, credential: str) -> Path:
        """Let the operator be another one from now on."""
        self.credential = self.cli.home / f"{self.name}.credential"
        self.credential.touch(mode=0o600)
        self.credential.write_text(credential)
        return self.credential

    def hand_in_approle(self, role: str, secret: str) -> None:
        origin = self.server.address
        self.hand_in(json.dumps({"v": 1, "method": "approle", "secret": secret, "role_id": role, "origins": [origin]}))

    def __call__(self, *arguments: str, input: str | bytes | None = None, **options: object) -> Result:
        return self.cli(
            *arguments, "-p", self.name, "--credential-file", str(self.credential), input=input, **options
        )  # fmt: skip

    def issued(self, *arguments: str) -> tuple[str, str]:
        """Issue a token for the subject ``someone``; return its id and its text."""
        done = self("issue", "--subject", "someone", "-o", "json", *arguments)
        assert done.code == 0, done.err
        return str(done.json["id"]), str(done.json["token"])

    def lookup(self, accessor: str) -> dict[str, Any] | None:
        """Return what the server itself says of a token; ``None`` for nothing."""
        node = self.server.await_active()
        answer = node.call(self.server.root_token, "POST", "auth/token/lookup-accessor", accessor=accessor)
        return dict(answer.json()["data"]) if answer.status_code == 200 else None

    def records(self) -> list[tuple[str, object, object]]:
        """Return operation, reason and outcome of every record, the oldest first."""
        done = self.cli("audit", "log", "-p", self.name, "-o", "jsonl", "--limit", "100000")
        assert done.code == 0, done.err
        return [(str(line["operation"]), line["reason"], line["outcome"]) for line in done.lines]
