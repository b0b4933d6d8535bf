"""A gateway as verifiers have it: nginx, which caches the JWK Set that another server of it serves from a file."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing

_READY = 10  # seconds
_CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {home}/pid;
error_log {home}/error.log warn;
events {{ worker_connections 128; }}
http {{
  access_log {home}/access.log;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  proxy_cache_path {home}/cache keys_zone=jwks:1m inactive=1h use_temp_path=off;
  server {{
    listen unix:{home}/origin;
    root {home}/www;
    if (-f {home}/down) {{ return 503; }}
    location / {{ default_type application/jwk-set+json; add_header Cache-Control max-age=1; }}
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://unix:{home}/origin:;
      proxy_cache jwks;
      proxy_cache_use_stale http_503;
      add_header X-Cache $upstream_cache_status;
    }}
  }}
}}
"""


class Gateway:
    """What is in front of verifiers; it holds a document for a second, and for as long as its origin is down."""

    def __init__(self, home: Path, port: int) -> None:
        self._home = home
        self.url = f"http://127.0.0.1:{port}/jwks.json"

    @property
    def file(self) -> Path:
        """What the origin serves."""
        return self._home / "www" / "jwks.json"

    def lose_origin(self) -> None:
        """From now on serve what the cache holds, however old."""
        (self._home / "down").touch()

    def find_origin(self) -> None:
        (self._home / "down").unlink()

    def asked(self) -> int:
        """Return how many requests came in so far, the origin's own among them."""
        return len((self._home / "access.log").read_text().splitlines())


@contextmanager
def caching_gateway(home: Path) -> Iterator[Gateway]:
    """Run nginx in this folder, as this user, on a free port of loopback; stop it in the end."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        missing("nginx")
    assert program is not None
    (home / "www").mkdir(parents=True)
    for _ in range(3):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        user = "user root;" if os.geteuid() == 0 else ""  # otherwise its worker would be nobody, who may read nothing here
        (home / "nginx.conf").write_text(_CONFIGURATION.format(home=home, port=port, user=user))
        server = subprocess.Popen(
            [program, "-p", str(home), "-e", str(home / "error.log"), "-c", str(home / "nginx.conf")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            if _ready(server, port):
                yield Gateway(home, port)
                return
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=_READY)
    raise AssertionError((home / "error.log").read_text())


def _ready(server: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + _READY
    while server.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
