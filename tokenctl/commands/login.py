"""``login``, ``logout`` and ``whoami``: the operator's credential for a remote profile."""

from __future__ import annotations

from tokenctl import terminal, wiring
from tokenctl.audit.actor import identify
from tokenctl.commands import inputs
from tokenctl.commands.context import Context
from tokenctl.config import Profile
from tokenctl.errors import AccessDenied, InvalidConfiguration, InvalidRequest
from tokenctl.http.peer import origin_of
from tokenctl.model.times import format_duration, format_instant
from tokenctl.operators import LARGEST, read
from tokenctl.render.escape import cell
from tokenctl.secret import Secret


def login(context: Context, place: str | None, *, client_id: str | None, role_id: str | None) -> int:
    """Take a credential from a prompt or from standard input, prove it at the service, and keep it in the keyring.

    Raises:
        InvalidRequest: nothing was handed in (exit 2).
        AccessDenied: the service refuses it, or no keyring is in reach: nothing is kept (exit 4).
        InvalidConfiguration: the profile is local (exit 9).
    """
    if place not in (None, "-"):
        raise InvalidRequest("a credential comes by a prompt or by standard input: tokenctl login -")
    profile = _remote(context)
    _check_names(profile, client_id=client_id, role_id=role_id)
    text = _read(context, from_stdin=place == "-")
    credential = read(text, method=_method(profile, role_id), source="what was handed in")
    credential = credential._replace(
        client_id=client_id or credential.client_id, role_id=role_id or credential.role_id, origins=frozenset(_origins(profile))
    )
    lookup = wiring.operator(profile, context.surroundings)
    service = wiring.connect(profile, context.surroundings, credential)
    try:
        identity = service.whoami()
    finally:
        service.close()
    try:
        lookup.keyring().write(lookup.account, credential.to_secret())
    except AccessDenied as error:
        error.hint = "without a keyring, hand it in each time: --credential-file FILE (0600)"
        raise
    context.console.chat(f"logged in to {profile.name} ({service.kind} at {service.authority}) as {cell(identity.subject)}")
    context.console.chat(f"kept in the keyring's item {lookup.account}, for {', '.join(sorted(credential.origins or ()))} alone")
    origins = sorted(credential.origins or ())
    _document(context, {"action": "login", "profile": profile.name, "subject": identity.subject, "origins": origins})
    return 0


def logout(context: Context, *, revoke: bool) -> int:
    """Forget the credential that the keyring holds; ``revoke`` first lets the service deny it.

    Raises:
        AccessDenied: no keyring is in reach, or the service refuses (exit 4): nothing is forgotten.
        InvalidConfiguration: the profile is local, or its credential cannot be revoked by itself (exit 9).
    """
    profile = _remote(context)
    lookup = wiring.operator(profile, context.surroundings)
    keyring = lookup.keyring()
    kept = keyring.read(lookup.account)
    if kept is not None and revoke:
        credential = read(kept, method=_method(profile, None), source=f"the keyring's item {lookup.account}")
        service = wiring.connect(profile, context.surroundings, credential)
        try:
            service.revoke_self()
        finally:
            service.close()
    gone = kept is not None and keyring.delete(lookup.account)
    told = ("revoked and forgotten" if revoke else "forgotten") if gone else "nothing was kept"
    context.console.chat(f"profile {profile.name}: {told}")
    _document(context, {"action": "logout", "profile": profile.name, "revoked": gone and revoke, "forgotten": gone})
    return 0


def whoami(context: Context) -> int:
    """Print who this command is: for the store's log, and for the service of a remote profile."""
    profile = wiring.open_profile(context.profile, context.surroundings)
    console = context.console
    console.profile = profile.name
    actor = identify(context.surroundings.environment, profile.name)
    members: dict[str, object] = {"profile": profile.name, "backend": profile.backend, "place": None, "actor": str(actor)}
    members |= dict.fromkeys(("subject", "scope", "expires_at", "credential", "origins"))
    if profile.backend != "local":
        credential = wiring.operator(profile, context.surroundings).find(method=_method(profile, None))
        service = wiring.connect(profile, context.surroundings, credential)
        try:
            identity = service.whoami()
        finally:
            service.close()
        members |= {"place": service.authority, "subject": identity.subject, "credential": credential.source}
        if identity.scope is not None:
            members["scope"] = list(identity.scope)
        if identity.expires_at is not None:
            members["expires_at"] = format_instant(identity.expires_at)
        if credential.origins is not None:
            members["origins"] = sorted(credential.origins)
        if identity.expires_at is not None and console.on_terminal:
            console.chat(f"the credential ends in {format_duration(max(identity.expires_at - context.now, 0))}")
    if console.machine:
        console.document(members | {"warnings": list(console.warnings)})
        return 0
    for name, value in members.items():
        told = cell(" ".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value))
        if console.on_terminal:
            console.answer(console.fold(f"{name:<11} ", told))
        else:
            console.answer(f"{name}\t{told}")
    return 0


def _remote(context: Context) -> Profile:
    profile = wiring.open_profile(context.profile, context.surroundings)
    context.console.profile = profile.name
    if profile.backend == "local":
        raise InvalidConfiguration(
            f"profile {profile.name} is local: its store needs no credential", hint="choose a remote profile: --profile NAME"
        )
    return profile


def _origins(profile: Profile) -> set[str]:
    settings = profile.service
    named = profile.issuer if profile.backend == "oauth2" else settings.address
    return {origin_of(str(named)), *map(origin_of, dict(settings.endpoints).values()), *settings.origins}


def _method(profile: Profile, role_id: str | None) -> str:
    if profile.backend == "openbao":
        return "approle" if role_id is not None else "token"
    return "private_key" if profile.service.client_auth == "private_key_jwt" else "secret"


def _check_names(profile: Profile, *, client_id: str | None, role_id: str | None) -> None:
    for option, value, backend in (("--client-id", client_id, "oauth2"), ("--role-id", role_id, "openbao")):
        if value is not None and (profile.backend != backend or not value.isprintable() or not 0 < len(value) <= 256):
            raise InvalidRequest(f"{option}: of a profile with backend {backend}, printable, at most 256 characters")
    if profile.backend == "oauth2" and client_id is None and profile.service.client_id is None:
        raise InvalidRequest("--client-id: the profile names no client", hint="tokenctl login --client-id ID")


def _read(context: Context, *, from_stdin: bool) -> Secret:
    if from_stdin and terminal.is_terminal(0):
        data = terminal.read_pasted(0)
    elif from_stdin:
        data = inputs.read_all(0, "standard input", limit=LARGEST)
    else:
        data = (terminal.read_hidden("Credential (not shown): ") if context.console.may_ask else None) or b""
    if not data.strip():
        raise InvalidRequest("no credential was handed in", hint="tokenctl login - < FILE", reason="nothing_named")
    return Secret(data)


def _document(context: Context, members: dict[str, object]) -> None:
    if context.console.machine:
        context.console.document(members | {"warnings": list(context.console.warnings)})
