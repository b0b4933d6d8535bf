"""OpenBao, whose token API is Vault's: one server with its storage in files or in memory, and a cluster of three by Raft.

Every server speaks TLS with a certificate of the tests' authority, starts sealed, and is initialized and unsealed through its own
API; it has the file audit device ``file/``, transit at ``transit/`` and AppRole at ``approle/``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import missing
from tests.servers import packages
from tests.servers.authority import HOST, Authority
from tests.servers.process import READY, Process, free_ports

AUDIT = "file"


class Node:
    """One server.

    Attributes:
        address: Where it listens, https.
        ca_file: What its certificate is trusted by (PEM).
        audit_log: The file of its audit device.
        process: To kill, pause, stop.
        http: A plain client that trusts it, follows no redirect, and sends no token of its own.
    """

    def __init__(self, folder: Path, authority: Authority, *, storage: str, ports: tuple[int, int]) -> None:
        program = packages.bao()
        if program is None:
            missing("OpenBao (the extra servers)")
        self.address = f"https://{HOST}:{ports[0]}"
        self.ca_file = authority.file
        self.audit_log = folder / "audit.log"
        folder.mkdir(parents=True)
        # In memory where the machine has a file system there: what is killed loses nothing, and a write costs a tenth.
        self._data = tempfile.TemporaryDirectory(
            prefix="tokenctl-test-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else folder
        )
        kept: dict[str, Any] = {}
        if storage == "raft":
            # A leader that is lost is missed as soon, and a newcomer gets its vote as soon, as can be had.
            kept = {"path": self._data.name, "node_id": folder.name, "performance_multiplier": 1}
            kept |= {"autopilot_reconcile_interval": "100ms", "autopilot_update_interval": "100ms"}
        configuration = {
            "api_addr": self.address, "cluster_addr": f"https://{HOST}:{ports[1]}", "log_level": "info", "ui": False,
            "storage": {storage: kept},
            "listener": [{"tcp": {
                "address": f"{HOST}:{ports[0]}", "cluster_address": f"{HOST}:{ports[1]}",
                "tls_cert_file": str(authority.good.chain), "tls_key_file": str(authority.good.key),
            }}],
            "audit": [{"type": "file", "path": AUDIT, "options": {"file_path": self.audit_log.name}}],  # one setting in a cluster
        }  # fmt: skip
        (folder / "configuration.json").write_text(json.dumps(configuration))
        self.process = Process(f"openbao {folder.name}", [str(program), "server", "-config", "configuration.json"], folder)
        self.http = httpx.Client(base_url=f"{self.address}/v1/", verify=authority.client(), timeout=10, trust_env=False)

    def end(self) -> None:
        """Leave nothing of it but its folder with the logs."""
        self.http.close()
        self.process.kill()
        self._data.cleanup()

    def start(self) -> None:
        """Start it and wait until it answers; with what it stored before, it is sealed."""
        self.process.start(lambda: self.health() is not None)

    def health(self) -> int | None:
        """Return its own word: 200 active, 429 standby, 501 not initialized, 503 sealed; None: no answer."""
        with suppress(httpx.TransportError):
            return self.http.get("sys/health", timeout=1).status_code
        return None

    def unseal(self, key: str) -> None:
        answer = self.http.post("sys/unseal", json={"key": key})
        assert answer.status_code == 200, answer.text

    def call(self, token: str | None, method: str, path: str, /, **body: object) -> httpx.Response:
        """Send one request with a token; method LIST as Vault has it."""
        headers = {"X-Vault-Request": "true", **({} if token is None else {"X-Vault-Token": token})}
        return self.http.request(method, path, headers=headers, json=body or None)


class OpenBao:
    """A server that is initialized and unsealed, or a cluster of them.

    Attributes:
        nodes: All of them; the first is the one that was initialized.
        root_token: May everything.
        unseal_key: Unseals each of them.
        seconds: How long it took until it was active.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.seconds = 0.0
        self.root_token = self.unseal_key = ""

    @property
    def node(self) -> Node:
        return self.nodes[0]

    @property
    def address(self) -> str:
        return self.node.address

    @property
    def ca_file(self) -> Path:
        return self.node.ca_file

    def start(self) -> None:
        begun = time.monotonic()
        self.node.start()
        answer = self.node.http.put("sys/init", json={"secret_shares": 1, "secret_threshold": 1})
        assert answer.status_code == 200, answer.text
        self.root_token, self.unseal_key = answer.json()["root_token"], answer.json()["keys_base64"][0]
        self.node.unseal(self.unseal_key)
        self.await_active()
        self.seconds = time.monotonic() - begun
        for path, kind in (("sys/mounts/transit", "transit"), ("sys/auth/approle", "approle")):
            self.sudo("POST", path, type=kind)

    def leader(self) -> Node | None:
        """Return the node that is active now."""
        return next((node for node in self.nodes if node.health() == 200), None)

    def await_active(self) -> Node:
        """Wait until one is active; return it."""
        until = time.monotonic() + READY
        while time.monotonic() < until:
            if node := self.leader():
                return node
            time.sleep(0.02)
        raise AssertionError("no node became active:\n" + "\n".join(node.process.said()[-2000:] for node in self.nodes))

    def sudo(self, method: str, path: str, /, **body: object) -> dict[str, Any]:
        """Do something with the root token at the active node; return the answer's body, {} where there is none."""
        node = self.node if len(self.nodes) == 1 else self.await_active()
        answer = node.call(self.root_token, method, path, **body)
        assert answer.is_success, answer.text
        return dict(answer.json()) if answer.content else {}

    def policy(self, name: str, **paths: list[str] | str) -> None:
        """Write a policy: ``policy("p", **{"auth/token/create": ["update"]})``."""
        rules = {path: {"capabilities": capabilities} for path, capabilities in paths.items()}
        self.sudo("PUT", f"sys/policies/acl/{name}", policy=json.dumps({"path": rules}))

    def token(self, **request: object) -> dict[str, Any]:
        """Create a token with the root token; return its ``auth``: client_token, accessor, lease_duration and so on."""
        return dict(self.sudo("POST", "auth/token/create", **request)["auth"])

    def app_role(self, name: str, *policies: str, **settings: object) -> tuple[str, str]:
        """Make an AppRole; return its role id and a secret id: what ``login`` is given."""
        self.sudo("POST", f"auth/approle/role/{name}", token_policies=list(policies), **settings)
        role = self.sudo("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        return str(role), str(self.sudo("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"])

    def audit_hash(self, value: str, device: str = AUDIT) -> str:
        """Return what stands in the audit log for a secret value."""
        return str(self.sudo("POST", f"sys/audit-hash/{device}", input=value)["data"]["hash"])

    def voters(self) -> list[str]:
        """Return the names of the nodes that a cluster counts for its majority."""
        servers = self.sudo("GET", "sys/storage/raft/configuration")["data"]["config"]["servers"]
        return [server["node_id"] for server in servers if server["voter"]]

    def seal(self) -> None:
        self.sudo("POST", "sys/seal")

    def unseal(self) -> Node:
        """Unseal every node that runs; return the one that becomes active."""
        for node in self.nodes:
            if node.process.runs:
                node.unseal(self.unseal_key)
        return self.await_active()


@contextmanager
def running(folder: Path, authority: Authority, *, storage: str = "inmem") -> Iterator[OpenBao]:
    """Run one server; ``storage``: inmem, or raft, which lies in files."""
    first, second = free_ports(2)
    with _started([Node(folder, authority, storage=storage, ports=(first, second))]) as server:
        yield server


@contextmanager
def cluster(folder: Path, authority: Authority, *, size: int = 3) -> Iterator[OpenBao]:
    """Run a Raft cluster, all of it unsealed; the first node leads."""
    ports = free_ports(2 * size)
    pairs = list(zip(ports[::2], ports[1::2], strict=True))
    nodes = [Node(folder / f"node{number}", authority, storage="raft", ports=pair) for number, pair in enumerate(pairs)]
    with _started(nodes) as server:
        yield server


@contextmanager
def _started(nodes: list[Node]) -> Iterator[OpenBao]:
    server = OpenBao(nodes)
    try:
        server.start()
        _join(server)
        yield server
    finally:
        for node in nodes:
            node.end()


def _join(server: OpenBao) -> None:
    """Start the others, unseal them, and wait until each follows and has a vote."""
    begun = time.monotonic()
    others = server.nodes[1:]
    if others:
        # Otherwise a newcomer gets its vote after ten seconds.
        server.sudo("POST", "sys/storage/raft/autopilot/configuration", server_stabilization_time="1s")
    for node in others:
        node.start()
        join = {"leader_api_addr": server.address, "leader_ca_cert": server.ca_file.read_text()}
        answer = node.http.post("sys/storage/raft/join", json=join)
        assert answer.status_code == 200, answer.text
        node.unseal(server.unseal_key)
    while others and len(server.voters()) < len(server.nodes):
        assert time.monotonic() < begun + READY, "\n".join(node.process.said()[-2000:] for node in server.nodes)
        time.sleep(0.05)
    server.seconds += time.monotonic() - begun
