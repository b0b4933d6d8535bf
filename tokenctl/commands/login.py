"""``login``, ``logout`` and ``whoami``: the operator's credential for a remote profile."""

from __future__ import annotations

from tokenctl import terminal, wiring
from tokenctl.audit.actor import identify
from tokenctl.commands import inputs
from tokenctl.commands.context import Context
from tokenctl.config import Profile
from tokenctl.errors import AccessDenied, Conflict, InvalidConfiguration, InvalidRequest, NotFound
from tokenctl.http.peer import origin_of
from tokenctl.model.times import format_duration, format_instant
from tokenctl.operators import LARGEST, Credential, Lookup, read
from tokenctl.render.escape import cell, escape
from tokenctl.secret import Secret


def login(context: Context, place: str | None, *, client_id: str | None, role_id: str | None) -> int:
    """Take a credential from a prompt, from standard input or as it is handed in, prove it at the service, and keep it.

    Raises:
        InvalidRequest: nothing was handed in, or twice (exit 2).
        AccessDenied: it names other origins, the service refuses it, or no keyring is in reach: nothing is kept (exit 4).
        InvalidConfiguration: the profile is local (exit 9).
    """
    profile = remote_profile(context)
    lookup = wiring.operator(profile, context.surroundings)
    credential = read(_read(context, profile, lookup, place), method=_method(profile, role_id), source="what was handed in")
    try:
        credential.require(origins_of(profile), profile.name)
    except AccessDenied as error:
        error.hint = "if it is for this service too: hand in its secret alone"
        raise
    credential = credential._replace(
        client_id=client_id or credential.client_id or profile.service.client_id, role_id=role_id or credential.role_id,
        origins=frozenset(origins_of(profile)), fresh=None, former=None,
    )  # fmt: skip
    _check_names(profile, credential, client_id=client_id, role_id=role_id)
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
    document(context, {"action": "login", "profile": profile.name, "subject": identity.subject, "origins": origins})
    return 0


def logout(context: Context, *, revoke: bool) -> int:
    """Forget the credential that the keyring holds; ``revoke`` first lets the service deny it.

    Raises:
        AccessDenied: no keyring is in reach, or the service refuses (exit 4): nothing is forgotten.
        Partial: the service may still accept it (exit 11): nothing is forgotten.
        Conflict: a rotation of it did not end, and it is to be revoked (exit 6).
        InvalidConfiguration: the profile is local, or its credential cannot be revoked by itself (exit 9).
        NotFound: no such profile, and nothing is kept for one (exit 5).
    """
    if context.surroundings.credential_file is not None or context.surroundings.credential_fd is not None:
        raise InvalidRequest("logout forgets what the keyring holds: it takes no credential")
    gone: NotFound | None = None
    try:
        profile = remote_profile(context)
    except NotFound as error:
        if revoke:
            raise
        gone = error  # what was kept for a profile that was removed can be forgotten too
        profile = Profile(name=wiring.profile_name(context.profile, context.surroundings))
    lookup = wiring.operator(profile, context.surroundings)
    keyring = lookup.keyring()
    kept = keyring.read(lookup.account)
    if kept is None and gone is not None:
        raise gone
    if kept is not None and revoke:
        _revoke(context, profile, read(kept, method=_method(profile, None), source=f"the keyring's item {lookup.account}"))
    forgotten = kept is not None and keyring.delete(lookup.account)
    told = ("revoked and forgotten" if revoke else "forgotten") if forgotten else "nothing was kept"
    context.console.chat(f"profile {profile.name}: {told}")
    document(
        context, {"action": "logout", "profile": profile.name, "revoked": forgotten and revoke, "forgotten": forgotten}
    )  # fmt: skip
    return 0


def _revoke(context: Context, profile: Profile, credential: Credential) -> None:
    from tokenctl.backends.remote.renewal import recorded

    if credential.rotating:
        raise Conflict(
            f"a rotation of the credential of profile {profile.name} did not end: another one may be accepted too",
            hint="end it first: tokenctl login --rotate", reason="rotating",
        )  # fmt: skip
    service = wiring.connect(profile, context.surroundings, credential)
    try:
        subject = service.whoami().subject
        with context.backend() as backend, recorded(backend.journal, "credential.revoke", subject, "logout"):
            service.revoke_self()
    finally:
        service.close()


def whoami(context: Context) -> int:
    """Print who this command is: for the store's log, and for the service of a remote profile."""
    profile = wiring.open_profile(context.profile, context.surroundings)
    console = context.console
    console.profile = profile.name
    actor = identify(context.surroundings.environment, profile.name)
    members: dict[str, object] = {"profile": profile.name, "backend": profile.backend, "place": None, "actor": str(actor)}
    members |= dict.fromkeys(("subject", "scope", "expires_at", "credential", "origins"))
    refuse_credential_of_local(context, profile)
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


def refuse_credential_of_local(context: Context, profile: Profile) -> None:
    """Refuse a credential that is handed in for a local profile (exit 9)."""
    handed = context.surroundings.credential_file is not None or context.surroundings.credential_fd is not None
    if handed and profile.backend == "local":
        raise InvalidConfiguration(
            f"profile {profile.name} takes no credential", hint="leave --credential-file and --credential-fd out"
        )


def remote_profile(context: Context) -> Profile:
    """Return the profile at work; raises InvalidConfiguration where it is local (exit 9)."""
    profile = wiring.open_profile(context.profile, context.surroundings)
    context.console.profile = profile.name
    if profile.backend == "local":
        raise InvalidConfiguration(
            f"profile {profile.name} is local: its store needs no credential", hint="choose a remote profile: --profile NAME"
        )
    return profile


def origins_of(profile: Profile) -> set[str]:
    """Return the origins that a credential for a profile is stored for."""
    settings = profile.service
    named = profile.issuer if profile.backend == "oauth2" else settings.address
    return {origin_of(str(named)), *map(origin_of, dict(settings.endpoints).values()), *settings.origins}


def _method(profile: Profile, role_id: str | None) -> str:
    return "approle" if profile.backend == "openbao" and role_id is not None else wiring.credential_method(profile)


def _check_names(profile: Profile, credential: Credential, *, client_id: str | None, role_id: str | None) -> None:
    for option, value, backend in (("--client-id", client_id, "oauth2"), ("--role-id", role_id, "openbao")):
        if value is not None and (profile.backend != backend or not value.isprintable() or not 0 < len(value) <= 256):
            raise InvalidRequest(f"{option}: of a profile with backend {backend}, printable, at most 256 characters")
    if profile.backend == "oauth2" and credential.client_id is None:
        raise InvalidRequest("--client-id: the profile names no client", hint="tokenctl login --client-id ID")
    if (credential.method in ("token", "approle")) != (profile.backend == "openbao"):
        raise InvalidRequest(f"what was handed in is no credential for backend {profile.backend}")


def _read(context: Context, profile: Profile, lookup: Lookup, place: str | None) -> Secret:
    """Return what was handed in, by the one way that was named, else by a prompt that says whom it is for."""
    if place not in (None, "-"):
        raise InvalidRequest("a credential comes by a prompt or by standard input: tokenctl login -")
    handed = lookup.handed()
    if handed is not None and place is not None:
        raise InvalidRequest("a credential is handed in by standard input or by --credential-file, not by both")
    if handed is not None:
        return handed
    data = read_stdin() if place == "-" else None
    if place is None and context.console.may_ask:
        where = profile.issuer if profile.backend == "oauth2" else profile.service.address
        data = terminal.read_hidden(f"Credential of {profile.name} for {escape(str(where))} (not shown): ")
    if not data or not data.strip():
        raise InvalidRequest("no credential was handed in", hint="tokenctl login - < FILE", reason="nothing_named")
    return Secret(data)


def read_stdin() -> bytes:
    """Read a secret from standard input; raises InvalidRequest (exit 2)."""
    if terminal.is_terminal(0):
        return terminal.read_pasted(0)
    return inputs.read_all(0, "standard input", limit=LARGEST)


def document(context: Context, members: dict[str, object]) -> None:
    """Print what was done, where JSON is asked for."""
    if context.console.machine:
        context.console.document(members | {"warnings": list(context.console.warnings)})
