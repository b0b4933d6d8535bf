"""``profile trust``: issuers whose JWTs a profile verifies by their own keys."""

from __future__ import annotations

import os

from tokenctl import config, wiring
from tokenctl.commands.context import Context
from tokenctl.config import Profile
from tokenctl.errors import InvalidRequest, NotFound, ServerError, naming
from tokenctl.model.trust import Trusted, read_trust


def trust(context: Context, issuer: str, *, remove: bool, ca_file: str | None, yes: bool) -> int:
    """Let the profile believe the JWTs of an issuer, whose metadata and keys are fetched first; or no more.

    Raises:
        InvalidRequest: no issuer, the profile's own, or keys at an origin that nobody confirmed: nothing is written (exit 2).
        NotFound: it is not trusted, and cannot be removed (exit 5).
        ServerError, Unanswered: what the issuer shows of itself (exit 8, 7).
    """
    profile = wiring.open_profile(context.profile, context.surroundings)
    context.console.profile = profile.name
    before = {trusted.issuer: trusted for trusted in profile.trusted}
    if remove:
        if ca_file is not None:
            raise InvalidRequest("--remove takes no --ca-file")
        if issuer not in before:
            raise NotFound(f"profile {profile.name} does not trust {issuer}", hint=f"tokenctl profile show {profile.name}")
        config.remove_trust(context.places, profile.name, issuer)
        context.console.chat(f"profile {profile.name} trusts {issuer} no more")
        _document(context, profile, before[issuer], keys=None, removed=True)
        return 0
    trusted = _read(profile, issuer, ca_file)
    trusted, keys = _confirmed(context, profile, trusted, before.get(issuer), yes=yes)
    if trusted != before.get(issuer):
        config.save_trust(context.places, profile.name, trusted)
    context.console.chat(f"profile {profile.name} trusts {issuer}: {keys} key{'s' * (keys != 1)}")
    _document(context, profile, trusted, keys=keys, removed=False)
    return 0


def _read(profile: Profile, issuer: str, ca_file: str | None) -> Trusted:
    from tokenctl.http.peer import origin_of

    with naming("URL"):
        origin_of(issuer)
    if issuer == profile.issuer:
        raise InvalidRequest(f"{issuer} is the issuer of profile {profile.name} itself")
    trusted = Trusted(issuer, ca_file=os.path.abspath(ca_file) if ca_file is not None else None)
    wrong = read_trust([trusted.table()])
    if isinstance(wrong, str):
        raise InvalidRequest(wrong.removeprefix("[[trust]]: "))
    return trusted


def _confirmed(
    context: Context, profile: Profile, trusted: Trusted, before: Trusted | None, *, yes: bool
) -> tuple[Trusted, int]:  # fmt: skip
    """Ask the issuer for its metadata, whoever is there for a foreign origin of its keys, and that for the keys."""
    from tokenctl.backends.oauth2.discovery import discover
    from tokenctl.http.peer import Peer, origin_of

    peer = Peer({origin_of(trusted.issuer)}, ca_file=trusted.ca_file, seconds=context.surroundings.timeout)
    try:
        metadata = discover(peer, trusted.issuer, {})
    finally:
        peer.close()
    if "jwks" not in metadata.endpoints:
        raise ServerError(f"{trusted.issuer} shows no keys (jwks_uri)", reason="no_keys")
    foreign = sorted(metadata.origins_of(["jwks"]) - {origin_of(trusted.issuer)})
    if foreign and not yes and not (before is not None and set(foreign) <= set(before.origins)):
        context.console.notice(f"{trusted.issuer} has its keys at {foreign[0]}")
        context.console.confirm(f"Believe the keys at {foreign[0]} for {trusted.issuer}?", 1, "trusted")
    trusted = trusted._replace(origins=tuple(foreign))
    keys = wiring.trusted_issuer(profile, trusted, context.surroundings).keys()
    if keys is None or not keys.keys:
        raise ServerError(f"{trusted.issuer} shows no key that verifies a JWT", reason="no_keys")
    return trusted, len(keys.keys)


def _document(context: Context, profile: Profile, trusted: Trusted, *, keys: int | None, removed: bool) -> None:
    if context.console.machine:
        context.console.document(
            {"action": "trust", "profile": profile.name, "issuer": trusted.issuer, "origins": list(trusted.origins),
             "ca_file": trusted.ca_file, "keys": keys, "removed": removed, "warnings": list(context.console.warnings)}
        )  # fmt: skip
