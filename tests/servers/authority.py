"""The certificate authority of the tests, made at run time, and servers' certificates with every fault that one may have."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme

HOST = "127.0.0.1"


class Certificate(NamedTuple):
    """Files of a server: its certificate chain, and its private key (both PEM)."""

    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Return what a server in this process needs of it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


class Authority:
    """A certificate authority that nobody trusts but who is given its file.

    Attributes:
        file: Its certificate (PEM): what a client trusts.
        good: A certificate for 127.0.0.1 and localhost.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.file)
        self.good = self._written("good", self._authority.issue_cert(HOST, "localhost"))

    def client(self) -> ssl.SSLContext:
        """Return what trusts this authority, and no other."""
        return ssl.create_default_context(cafile=self.file)

    def expired(self) -> Certificate:
        return self._written("expired", self._authority.issue_cert(HOST, not_after=datetime.now(UTC) - timedelta(days=1)))

    def not_yet_valid(self) -> Certificate:
        begins = datetime.now(UTC) + timedelta(days=1)
        issued = self._authority.issue_cert(HOST, not_before=begins, not_after=begins + timedelta(days=1))
        return self._written("not-yet-valid", issued)

    def of_another_host(self) -> Certificate:
        return self._written("of-another-host", self._authority.issue_cert("another.example"))

    def of_another_authority(self) -> Certificate:
        return self._written("of-another-authority", trustme.CA().issue_cert(HOST))

    def self_signed(self) -> Certificate:
        """Return a certificate that is its own authority."""
        own = trustme.CA()
        key, chain = self._folder / "self-signed.key", self._folder / "self-signed.pem"
        own.private_key_pem.write_to_path(key)
        own.cert_pem.write_to_path(chain)
        return Certificate(chain, key)

    def _written(self, name: str, issued: trustme.LeafCert) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        issued.private_key_pem.write_to_path(made.key)
        made.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return made
