"""Remote verbs as ratios to a plain client at the same server, a real OpenBao: ``python -m tests.bench remote``.

A revocation of ours asks before and after, and records both: the floor is a plain client that does these three exchanges, with
as many connections, and one that only revokes. ``inspect`` is a whole process beside a bare HTTPS call in a process of its own.
"""

from __future__ import annotations

import ssl
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.bench.measure import Bench, Row, folder
from tests.servers.authority import Authority
from tests.servers.openbao import OpenBao, running

TOKENS = 1_000
_AT_ONCE = 8
_RUNS = 3
_LOOKS = 15
_BARE = """import ssl, sys, httpx
context = ssl.create_default_context(cafile=sys.argv[2])
answer = httpx.post(sys.argv[1] + "/v1/auth/token/lookup-accessor", json={"accessor": sys.argv[3]}, verify=context,
                    headers={"X-Vault-Token": open(sys.argv[4]).read()}, trust_env=False)
assert answer.status_code == 200
"""


def rows() -> list[Row]:
    """Measure; return the table."""
    with folder() as place:
        authority = Authority(place / "authority")
        with running(place / "server", authority) as server:
            bench = _prepared(place / "home", server)
            return [*_revocations(bench, server), _look(bench, server, place)]


def _prepared(home: Path, server: OpenBao) -> Bench:
    bench = Bench(home)
    profiles = home / ".config/tokenctl/profiles"
    profiles.mkdir(parents=True, mode=0o700)
    (profiles / "vault.toml").write_text(
        f'backend = "openbao"\n[service]\naddress = "{server.address}"\nca_file = "{server.ca_file}"\n'
    )
    (profiles / "vault.toml").chmod(0o600)
    credential = home / "credential"
    credential.touch(mode=0o600)
    credential.write_text(server.root_token)
    bench.env["TOKENCTL_CREDENTIAL_FILE"] = str(credential)
    return bench


def _tokens(server: OpenBao) -> list[str]:
    def create(_: int) -> str:
        made = server.node.call(server.root_token, "POST", "auth/token/create", policies=["default"], ttl="1h")
        return str(made.json()["auth"]["accessor"])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(create, range(TOKENS)))


def _revocations(bench: Bench, server: OpenBao) -> list[Row]:
    ours, careful, bare = [], [], []
    for _ in range(_RUNS):
        named = _tokens(server)
        begun = time.perf_counter()
        subprocess.run(
            [bench.program, "-p", "vault", "revoke", "-", "--yes", "-q", "--expect", str(TOKENS)], env=bench.env, cwd=bench.home,
            input="\n".join(named).encode(), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        ours.append(time.perf_counter() - begun)
        careful.append(_plain(server, _tokens(server), ("lookup", "revoke", "lookup")))
        bare.append(_plain(server, _tokens(server), ("revoke",)))
    taken, asked, done = map(statistics.median, (ours, careful, bare))
    shown = f"revoke {TOKENS:,} ({TOKENS / taken:.0f}/s)"
    return [
        Row(shown=shown, ours=taken, floor=asked, floor_shown=f"plain httpx, asked before and after ({TOKENS / asked:.0f}/s)",
            goal="", unit="s"),
        Row(shown=shown, ours=taken, floor=done, floor_shown=f"plain httpx, revoked alone ({TOKENS / done:.0f}/s)",
            goal="", unit="s"),
    ]  # fmt: skip


def _plain(server: OpenBao, accessors: list[str], steps: tuple[str, ...]) -> float:
    """Do it with a plain client; return the seconds."""
    headers = {"X-Vault-Token": server.root_token, "X-Vault-Request": "true"}
    limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
    with (
        httpx.Client(base_url=f"{server.address}/v1/", verify=ssl.create_default_context(cafile=server.ca_file), limits=limits,
                     headers=headers, timeout=30, trust_env=False) as client,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):  # fmt: skip

        def settle(accessor: str) -> None:
            for step in steps:
                client.post(f"auth/token/{step}-accessor", json={"accessor": accessor})

        begun = time.perf_counter()
        list(pool.map(settle, accessors))
        return time.perf_counter() - begun


def _look(bench: Bench, server: OpenBao, place: Path) -> Row:
    accessor = server.token(policies=["default"], ttl="1h")["accessor"]
    credential = bench.env["TOKENCTL_CREDENTIAL_FILE"]
    bare = [sys.executable, "-c", _BARE, server.address, str(server.ca_file), accessor, credential]
    ours = [bench.program, "-p", "vault", "inspect", accessor, "-q"]
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(_LOOKS):
        for name, command in (("ours", ours), ("bare", bare)):
            begun = time.perf_counter()
            subprocess.run(command, env=bench.env, cwd=place, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - begun)
    own, floor = (statistics.median(times[name]) for name in ("ours", "bare"))
    return Row(shown="inspect ID", ours=own, floor=floor, floor_shown="python, httpx, one HTTPS call", goal="")
