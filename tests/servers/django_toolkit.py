"""django-oauth-toolkit: an authorization server in Django, served by gunicorn; ``django_site.py`` is its project."""

from __future__ import annotations

import importlib.util
import json
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from tests.conftest import missing
from tests.servers.authority import HOST, Authority
from tests.servers.authorization_server import DISCOVERY, AuthorizationServer, Registrar
from tests.servers.process import Process

SCOPES = ("a:read", "a:write", "b:read", "introspection")
TTL = 600  # seconds
_THREADS = 4


class DjangoToolkit(AuthorizationServer):
    """The server; ``client`` and ``other_client`` may introspect everything; each revokes its own tokens alone."""

    def __init__(self, process: Process, issuer: str, authority: Authority) -> None:
        super().__init__(issuer, authority, process.seconds, process.log)
        self.process = process
        self.registrar = Registrar(self, None)
        self.register = self.registrar.register
        self.client = self.register()
        self.other_client = self.register()


@contextmanager
def running(folder: Path, authority: Authority, *, ttl: int = TTL) -> Iterator[DjangoToolkit]:
    """Run one in this folder, whose tokens live for ``ttl`` seconds."""
    for name in ("oauth2_provider", "gunicorn"):
        if importlib.util.find_spec(name) is None:
            missing(f"{name} (the extra servers)")
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("django_site.py"), folder)
    configuration = {"ttl": ttl, "scopes": SCOPES, "secret": secrets.token_urlsafe()}
    (folder / "configuration.json").write_text(json.dumps(configuration))
    with socket.create_server((HOST, 0), backlog=128) as listener, httpx.Client(verify=authority.client(), timeout=10) as asking:
        issuer = f"https://{HOST}:{listener.getsockname()[1]}"
        command = [
            sys.executable, "-P", "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", "--chdir", str(folder),
            "--certfile", str(authority.good.chain), "--keyfile", str(authority.good.key),
            "--worker-class", "gthread", "--threads", str(_THREADS), "--no-control-socket", "django_site:application",
        ]  # fmt: skip
        process = Process("django-oauth-toolkit", command, folder)

        def ready() -> bool:
            try:
                return asking.get(issuer + DISCOVERY[0], timeout=0.5).status_code == 200
            except httpx.TransportError:
                return False

        process.start(ready, listener=listener)
        try:
            server = DjangoToolkit(process, issuer, authority)
            with closing(server.http):
                yield server
        finally:
            process.kill()  # it would wait for idle connections, and the signal that says not to can stop it for ever
