"""How long the certificate of a service is good for."""

from __future__ import annotations

import socket

from tokenctl.http.transport import context, public_url


def certificate_end(url: str, ca_file: str | None, seconds: float) -> int | None:
    """Return when the certificate ends, milliseconds UTC; ``None`` without TLS, or where it is not shown in time."""
    import ssl

    address = public_url(url)
    if address.scheme != "https":
        return None
    try:
        with (
            socket.create_connection((address.host, address.port or 443), timeout=seconds) as plain,
            context("https", ca_file).wrap_socket(plain, server_hostname=address.host) as secured,
        ):
            told = (secured.getpeercert() or {}).get("notAfter")
    except OSError:
        return None
    return ssl.cert_time_to_seconds(told) * 1000 if isinstance(told, str) else None
