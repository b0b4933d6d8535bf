"""The servers as fixtures; the package tells how to use them. A failed test shows what its servers said meanwhile."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.process import LIVING

# Their modules are imported by the fixtures: most test runs need none of them, and their libraries take a third of a second.
if TYPE_CHECKING:
    from tests.servers.authority import Authority
    from tests.servers.django_toolkit import DjangoToolkit
    from tests.servers.liar import Liar
    from tests.servers.oidc_provider import OidcProvider
    from tests.servers.openbao import OpenBao

_SHOWN = 8000  # characters of a log
_logged: dict[Path, int] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    _logged.clear()
    _logged.update({process.log: process.log.stat().st_size for process in LIVING})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for process in LIVING:
            if said := process.said(_logged.get(process.log, 0)):
                report.sections.append((f"{process.name}, meanwhile ({process.log})", said[-_SHOWN:]))
    return report


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of this run have their folders."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def authority(servers_folder: Path) -> Authority:
    from tests.servers.authority import Authority

    return Authority(servers_folder / "authority")


@pytest.fixture(scope="session")
def oidc_provider(servers_folder: Path, authority: Authority) -> Iterator[OidcProvider]:
    from tests.servers.oidc_provider import running

    with running(servers_folder / "oidc-provider", authority) as server:
        yield server


@pytest.fixture(scope="session")
def other_oidc_provider(servers_folder: Path, authority: Authority) -> Iterator[OidcProvider]:
    from tests.servers.oidc_provider import running

    with running(servers_folder / "other-oidc-provider", authority) as server:
        yield server


@pytest.fixture(scope="session")
def django_toolkit(servers_folder: Path, authority: Authority) -> Iterator[DjangoToolkit]:
    from tests.servers.django_toolkit import running

    with running(servers_folder / "django-oauth-toolkit", authority) as server:
        yield server


@pytest.fixture(scope="session")
def liar(servers_folder: Path, authority: Authority) -> Iterator[Liar]:
    from tests.servers.liar import running

    with running(servers_folder / "liar", authority) as server:
        yield server


@pytest.fixture(scope="session")
def openbao(servers_folder: Path, authority: Authority) -> Iterator[OpenBao]:
    from tests.servers.openbao import running

    with running(servers_folder / "openbao", authority) as server:
        yield server


@pytest.fixture(scope="session")
def other_openbao(servers_folder: Path, authority: Authority) -> Iterator[OpenBao]:
    from tests.servers.openbao import running

    with running(servers_folder / "other-openbao", authority) as server:
        yield server


@pytest.fixture
def openbao_in_files(tmp_path: Path, authority: Authority) -> Iterator[OpenBao]:
    from tests.servers.openbao import running

    with running(tmp_path / "openbao-in-files", authority, storage="raft") as server:
        yield server


@pytest.fixture
def openbao_cluster(tmp_path: Path, authority: Authority) -> Iterator[OpenBao]:
    from tests.servers.openbao import cluster

    with cluster(tmp_path / "openbao-cluster", authority) as server:
        yield server
