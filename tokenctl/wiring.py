"""From a profile to its backend: the only place that chooses concrete things."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from tokenctl import config
from tokenctl.audit.actor import identify
from tokenctl.backends.base import Backend
from tokenctl.backends.local.authority import LocalAuthority
from tokenctl.backends.local.journal import Journal
from tokenctl.backends.local.root_secret import Whereabouts
from tokenctl.errors import InvalidConfiguration

if TYPE_CHECKING:
    from tokenctl.backends.foreign import IssuerKeys
    from tokenctl.backends.oauth2.published import Published
    from tokenctl.backends.oauth2.service import AuthorizationServer
    from tokenctl.backends.openbao.exchange import Exchanges
    from tokenctl.backends.openbao.service import OpenBao
    from tokenctl.backends.parts import SigningKeys
    from tokenctl.backends.remote.authority import RemoteAuthority
    from tokenctl.backends.remote.renewal import Renewal
    from tokenctl.backends.remote.service import Service
    from tokenctl.model.trust import Trusted
    from tokenctl.operators import Credential, Lookup
    from tokenctl.secret import Secret


class Surroundings(NamedTuple):
    """What a command is given from outside: environment, clock, and where it speaks.

    Attributes:
        now: Milliseconds since the epoch; read once for the whole command.
        timeout: Seconds the command may wait in all.
        ceiling: The file of the machine's policy above every profile's.
        announce: Says what a person at the terminal is waited for with; ``None`` where nobody may be asked.
        credential_file, credential_fd: Where the operator's credential is handed in.
    """

    environment: Mapping[str, str]
    now: int
    notice: Callable[[str], None]
    warn: Callable[[str], None]
    timeout: float
    ceiling: str = config.CEILING
    announce: Callable[[str], None] | None = None
    credential_file: str | None = None
    credential_fd: int | None = None


def places(surroundings: Surroundings) -> config.Places:
    """Return where this user's files lie."""
    return config.Places(surroundings.environment, surroundings.ceiling)


def profile_name(name: str | None, surroundings: Surroundings) -> str:
    """Return the profile that a command means."""
    if name is not None:
        return config.check_name(name)
    return config.current_name(places(surroundings), surroundings.environment)


def open_journal(profile: config.Profile, surroundings: Surroundings) -> Journal:
    """Return the journal of a profile; nothing is opened or made yet."""
    return Journal(
        places(surroundings), profile.name, whereabouts=whereabouts(profile, surroundings), clock=surroundings.now,
        actor=identify(surroundings.environment, profile.name),
        notice=surroundings.notice, warn=surroundings.warn, lock_deadline=surroundings.timeout,
    )  # fmt: skip


def whereabouts(profile: config.Profile, surroundings: Surroundings) -> Whereabouts:
    """Return where the root secret of a profile's store can lie."""
    return Whereabouts(
        places(surroundings), profile.name, surroundings.environment,
        keyring_backend=profile.keyring_backend, announce=surroundings.announce,
    )  # fmt: skip


def _local(profile: config.Profile, surroundings: Surroundings) -> LocalAuthority:
    return LocalAuthority(
        profile, open_journal(profile, surroundings), policy=lambda: config.load_policy(places(surroundings), profile)
    )


def operator(profile: config.Profile, surroundings: Surroundings) -> Lookup:
    """Return where the operator's credential for a profile may come from."""
    from tokenctl.credentials import Keyring
    from tokenctl.operators import Lookup

    number = surroundings.credential_fd

    def descriptor() -> int:
        from tokenctl import process

        assert number is not None
        return process.adopt_descriptor(number, writing=False, forbidden=(), option=f"--credential-fd {number}")

    @cache
    def keyring() -> Keyring:  # one for the whole command, which has its time in all
        return Keyring(surroundings.environment, backend=profile.keyring_backend, announce=surroundings.announce)

    return Lookup(
        profile.name, surroundings.environment, file=surroundings.credential_file,
        descriptor=descriptor if number is not None else None, keyring=keyring,
    )  # fmt: skip


def _remote(
    profile: config.Profile, surroundings: Surroundings, authority: str, connect: Callable[[], Service],
    is_handle: Callable[[str], bool], *, logs_itself: bool, signing_keys: Callable[[RemoteAuthority], SigningKeys] | None = None,
) -> Backend:  # fmt: skip
    from tokenctl.backends.remote.authority import RemoteAuthority

    return RemoteAuthority(
        profile, open_journal(profile, surroundings), policy=lambda: config.load_policy(places(surroundings), profile),
        kind=profile.backend, authority=authority, service=connect, is_handle=is_handle, logs_itself=logs_itself,
        signing_keys=signing_keys,
    )  # fmt: skip


def _oauth2(profile: config.Profile, surroundings: Surroundings) -> Backend:
    if profile.issuer is None:
        raise InvalidConfiguration(f"profile {profile.name} names no issuer", hint="issuer, in its file")
    return _remote(
        profile, surroundings, profile.issuer, lambda: connect_oauth2(profile, surroundings), lambda _: False, logs_itself=False
    )


def connect(profile: config.Profile, surroundings: Surroundings, credential: Credential) -> Service:
    """Return the service of a remote profile, spoken to with a credential that is not looked up."""
    connecting = connect_oauth2 if profile.backend == "oauth2" else connect_openbao
    return connecting(profile, surroundings, credential)


def connect_oauth2(
    profile: config.Profile, surroundings: Surroundings, given: Credential | None = None
) -> AuthorizationServer:  # fmt: skip
    """Return the authorization server of a profile; nothing is sent yet.

    Args:
        given: The credential; ``None`` looks it up when it is first needed.
    """
    from tokenctl.backends.oauth2.cache import Cache
    from tokenctl.backends.oauth2.published import Published
    from tokenctl.backends.oauth2.service import AuthorizationServer
    from tokenctl.http.peer import Peer, origin_of
    from tokenctl.model.service import ENDPOINTS

    settings, issuer = profile.service, str(profile.issuer)
    overrides = dict(settings.endpoints)
    # An address that the profile names itself is confirmed by that.
    named = {*map(origin_of, (issuer, *overrides.values()))}
    peer = Peer(named | set(settings.origins), ca_file=settings.ca_file, seconds=surroundings.timeout)
    published = Published(
        peer, issuer, overrides, Cache(places(surroundings).cache(profile.name), surroundings.now), endpoints=ENDPOINTS,
        remedy=f"add it to origins in the table [service] of profile {profile.name}",
    )  # fmt: skip

    def credential() -> Credential:
        found = given or operator(profile, surroundings).find(method=credential_method(profile))
        found.require(named, profile.name)  # before anybody there is asked for anything
        found.require(published.metadata.origins, profile.name)
        return found

    return AuthorizationServer(peer, published, settings, credential, _going_on(surroundings.now))


def _going_on(now: int) -> Callable[[], int]:
    """Return a clock that goes on from the one reading of the command."""
    begun = time.monotonic()
    return lambda: now + int((time.monotonic() - begun) * 1000)


def _openbao(profile: config.Profile, surroundings: Surroundings) -> Backend:
    address = profile.service.address
    if address is None:
        raise InvalidConfiguration(f"profile {profile.name} names no address", hint="address, in its table [service]")
    from tokenctl.backends.openbao.answers import is_accessor

    def transit(backend: RemoteAuthority) -> SigningKeys:
        from tokenctl.backends.openbao.service import OpenBao
        from tokenctl.backends.openbao.transit import TransitKeys

        def exchanges() -> Exchanges:
            assert isinstance(backend.service, OpenBao)
            return backend.service.exchanges

        return TransitKeys(backend.journal, profile, backend.place, exchanges)

    return _remote(
        profile, surroundings, address, lambda: connect_openbao(profile, surroundings), is_accessor, logs_itself=True,
        signing_keys=transit if profile.service.transit_mount is not None else None,
    )  # fmt: skip


def connect_openbao(profile: config.Profile, surroundings: Surroundings, given: Credential | None = None) -> OpenBao:
    """Return the token store of a profile; nothing is sent yet."""
    from tokenctl.backends.openbao.service import OpenBao
    from tokenctl.http.peer import Peer, origin_of

    settings = profile.service
    origin = origin_of(str(settings.address))
    peer = Peer({origin}, ca_file=settings.ca_file, seconds=surroundings.timeout)

    def credential() -> Credential:
        found = given or operator(profile, surroundings).find(method="token")
        found.require({origin}, profile.name)
        return found

    return OpenBao(peer, str(settings.address), settings, credential, surroundings.now)


def credential_method(profile: config.Profile) -> str:
    """Return what a bare secret is for a profile, one of :data:`tokenctl.operators.METHODS`."""
    if profile.backend == "openbao":
        return "token"
    return "private_key" if profile.service.client_auth == "private_key_jwt" else "secret"


def renewal(
    profile: config.Profile, surroundings: Surroundings, credential: Credential, *, initial: Secret | None, in_place: bool,
    issued: Callable[[], int],
) -> Renewal:  # fmt: skip
    """Return the way in which the credential of a profile gives way to a fresh one.

    Args:
        credential: The one in use; one whose rotation was begun goes on in the same way.
        initial: The initial access token for the registration of another client.
        in_place: Whether the service is to replace the secret of the client.
        issued: Counts the living tokens of the profile.

    Raises:
        InvalidConfiguration: the service has no such way (exit 9).
    """
    if profile.backend == "openbao":
        return _openbao_renewal(profile, surroundings, credential, issued, plain=initial is None and not in_place)
    from tokenctl.backends.oauth2 import renewal as ways

    service = connect_oauth2(profile, surroundings, credential)

    def accepts(presented: Credential) -> bool:
        proving = connect_oauth2(profile, surroundings, presented)
        try:
            return proving.accepted()
        finally:
            proving.close()

    parts = ways.Parts(service.authority, service.registration, accepts, initial)
    if credential.method == "private_key":
        return ways.SecondKey(parts)
    beside = credential.fresh or credential.former
    if beside is not None:
        in_place = beside.client_id == credential.client_id
    if in_place:
        return ways.InPlace(parts)
    if service.registration.endpoint is None:
        raise InvalidConfiguration(
            f"{service.authority} registers no clients", reason="part_lacking",
            hint="tokenctl login --rotate --in-place; or make a new secret at the service, then: tokenctl login -",
        )  # fmt: skip
    return ways.AnotherClient(parts)


def _openbao_renewal(
    profile: config.Profile, surroundings: Surroundings, credential: Credential, issued: Callable[[], int], *, plain: bool
) -> Renewal:  # fmt: skip
    from tokenctl.backends.openbao.renewal import AnotherSecretId, AnotherToken

    if not plain:
        raise InvalidConfiguration(f"profile {profile.name} has no clients", hint="leave - and --in-place out")
    service = connect_openbao(profile, surroundings, credential)
    if credential.method == "approle":
        return AnotherSecretId(service.exchanges)
    return AnotherToken(service.exchanges, issued)


BACKENDS: dict[str, Callable[[config.Profile, Surroundings], Backend]] = {
    "local": _local, "oauth2": _oauth2, "openbao": _openbao
}  # fmt: skip


def open_profile(name: str | None, surroundings: Surroundings) -> config.Profile:
    """Return the profile that a command means.

    Raises:
        NotFound: no such profile (exit 5).
        InvalidConfiguration: its file or places cannot be used (exit 9).
    """
    return config.load_profile(places(surroundings), profile_name(name, surroundings))


def open_backend(name: str | None, surroundings: Surroundings) -> Backend:
    """Return the backend of a profile; raises like :func:`open_profile`."""
    profile = open_profile(name, surroundings)
    backend = BACKENDS[profile.backend](profile, surroundings)
    if profile.trust_tables:
        backend.issuer_keys = _issuer_keys(profile, surroundings)
    return backend


def _issuer_keys(profile: config.Profile, surroundings: Surroundings) -> IssuerKeys:
    """Return what finds the keys of the issuers that a profile trusts, each by its own discovery and cache."""

    @cache
    def published(issuer: str) -> Published:
        trusted = next(trusted for trusted in profile.trusted if trusted.issuer == issuer)
        return trusted_issuer(profile, trusted, surroundings)

    return lambda issuer, *, kid, offline: published(issuer).keys(kid=kid, offline=offline)


def trusted_issuer(profile: config.Profile, trusted: Trusted, surroundings: Surroundings) -> Published:
    """Return an issuer that a profile trusts; nothing is sent yet."""
    from hashlib import sha256

    from tokenctl.backends.oauth2.cache import Cache
    from tokenctl.backends.oauth2.published import Published
    from tokenctl.http.peer import Peer, origin_of

    peer = Peer({origin_of(trusted.issuer), *trusted.origins}, ca_file=trusted.ca_file, seconds=surroundings.timeout)
    folder = f"{places(surroundings).cache(profile.name)}/issuers/{sha256(trusted.issuer.encode()).hexdigest()[:32]}"
    return Published(
        peer, trusted.issuer, {}, Cache(folder, surroundings.now), endpoints=("jwks",),
        remedy=f"tokenctl profile trust {trusted.issuer} --profile {profile.name}",
    )  # fmt: skip
