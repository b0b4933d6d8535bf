"""The service of a remote profile: the credential that is in reach, the service that answers, its certificate, its clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from tokenctl import wiring
from tokenctl.commands.doctor.finding import Examined, Finding, fail, ok, warn
from tokenctl.errors import AccessDenied, TokenctlError
from tokenctl.model.times import DAY, SECOND, format_duration

if TYPE_CHECKING:
    from tokenctl.config import Profile
    from tokenctl.http.peer import Answer, Peer

_SOON = 14 * DAY  # a certificate that ends within
_SKEW = 60 * SECOND  # what is forgiven to a foreign clock


def credential(examined: Examined) -> Iterator[Finding]:
    """Check that the operator's credential is in reach, of the kind that is needed, and stored for this service."""
    profile = examined.settings
    if profile.backend == "local":
        return
    from tokenctl.commands.login import origins_of

    quiet = examined.context.surroundings._replace(announce=None)  # nobody is asked to open a keyring
    found = wiring.operator(profile, quiet).find(method=wiring.credential_method(profile))
    found.require(origins_of(profile), profile.name)
    if found.method == "private_key":
        from tokenctl.formats.client_key import read_private_key

        read_private_key(found.secret)
    if profile.backend == "oauth2" and found.client_id is None and profile.service.client_id is None:
        yield fail("credential", AccessDenied("no client is named", hint="tokenctl login --client-id ID"))
        return
    bound = f"for {', '.join(sorted(found.origins))} alone" if found.origins is not None else "a bare secret, bound to no origin"
    yield ok("credential", f"{found.source}, {found.method.replace('_', ' ')}, {bound}")
    if found.rotating:
        yield warn("credential", "a rotation of it did not end: another one may be accepted too", "tokenctl login --rotate")


def service(examined: Examined) -> Iterator[Finding]:
    """Check that the service answers at its confirmed origins, and tell how its certificate and its clock stand."""
    profile = examined.settings
    if profile.backend == "local":
        return
    from tokenctl.commands.login import origins_of
    from tokenctl.http.certificate import certificate_end
    from tokenctl.http.peer import Peer

    settings, seconds = profile.service, examined.context.surroundings.timeout
    address = str(profile.issuer if profile.backend == "oauth2" else settings.address)
    peer = Peer(origins_of(profile), ca_file=settings.ca_file, seconds=seconds)
    begun, begun_at = time.monotonic(), examined.time()
    try:
        answer, trouble = _asked(profile, peer, address)
    finally:
        peer.close()
    elapsed = round((time.monotonic() - begun) * SECOND)
    if trouble is not None:
        yield fail("service", trouble)
    end = certificate_end(address, settings.ca_file, seconds)
    left = None if end is None else end - examined.now
    tls = "without TLS" if left is None else f"TLS valid {left // DAY} days more"
    if left is not None and left < _SOON:
        yield warn("service", f"{profile.name} at {address}: its certificate ends in {format_duration(max(left, 0))}")
    elif trouble is None:
        yield ok("service", f"{profile.name} reachable in {elapsed} ms, {tls}")
    if answer is not None:
        yield from _clock(answer, begun_at, examined.time(), address)


def _asked(profile: Profile, peer: Peer, address: str) -> tuple[Answer | None, TokenctlError | None]:
    """Ask what everybody may ask; return the answer, and what is wrong with it."""
    if profile.backend == "oauth2":
        return _metadata(profile, peer, address)
    answer = peer.ask("GET", f"{address.rstrip('/')}/v1/sys/seal-status", repeatable=True)
    from tokenctl.errors import ServerError, TemporarilyUnavailable

    if answer.status != 200 or not isinstance(answer.members().get("sealed"), bool):
        return answer, ServerError(f"{address} answered {answer.status} where its state was expected")
    return answer, TemporarilyUnavailable(f"{address} is sealed") if answer.members()["sealed"] else None


def _metadata(profile: Profile, peer: Peer, issuer: str) -> tuple[Answer | None, TokenctlError | None]:
    from tokenctl.backends.oauth2.discovery import discover, locations
    from tokenctl.model.service import ENDPOINTS

    try:
        metadata = discover(peer, issuer, dict(profile.service.endpoints))
        remedy = f"add it to origins in the table [service] of profile {profile.name}"
        metadata.require_confirmed(peer.origins, ENDPOINTS, remedy)
        trouble: TokenctlError | None = None
    except TokenctlError as error:
        if error.exit_code == 7:
            raise
        trouble = error
    return peer.ask("GET", locations(issuer)[0], repeatable=True), trouble


def _clock(answer: Answer, before: int, after: int, address: str) -> Iterator[Finding]:
    """Compare clocks; ``Date`` is of whole seconds, and of some moment of the exchange."""
    try:
        theirs = int(parsedate_to_datetime(answer.headers["date"]).timestamp()) * SECOND
    except (ValueError, KeyError, TypeError, OverflowError):
        yield warn("clock", f"{address} does not tell its time")
        return
    behind, ahead = before - (theirs + SECOND), theirs - after
    difference = max(behind, ahead, 0)
    told = f"{difference / SECOND:.1f} s from {address}"
    if difference > _SKEW:
        yield warn("clock", f"{told}: this machine is {'ahead' if behind > 0 else 'behind'}, or the service is wrong")
        return
    yield ok("clock", told)
