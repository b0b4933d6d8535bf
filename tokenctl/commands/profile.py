"""``profile``: where tokenctl works; one file a profile."""

from __future__ import annotations

import os

from tokenctl import config, wiring
from tokenctl.commands.context import Context
from tokenctl.commands.profile_remote import NOT_REMOTE, Remote, remotely
from tokenctl.errors import AccessDenied, Conflict, InvalidConfiguration, InvalidRequest, NotFound, naming
from tokenctl.model.review import Review
from tokenctl.model.times import format_duration
from tokenctl.render.escape import escape

_SHORT_HASH = 12  # characters of a policy's hash for a person


def add(
    context: Context, name: str, *, backend: str, issuer: str | None, default_audience: str | None, eddsa_name: str | None,
    jwks_file: str | None, verifiers: tuple[str, ...], remote: Remote = NOT_REMOTE, yes: bool = False,
) -> int:  # fmt: skip
    """Make a profile; one that is there already with the same settings is left as it is.

    Raises:
        Conflict: it is there with other settings (exit 6).
        InvalidConfiguration: an unknown backend (exit 9).
        InvalidRequest: a malformed value, or foreign origins that nobody confirmed (exit 2).
        ServerError, Unanswered: what an authorization server shows of itself (exit 8, 7).
    """
    config.check_name(name)
    if backend not in config.BACKENDS:
        raise InvalidConfiguration("no such backend", hint=f"--backend: one of {', '.join(config.BACKENDS)}")
    if eddsa_name not in (None, "EdDSA", "Ed25519"):
        raise InvalidRequest("--eddsa-name: EdDSA or Ed25519")
    for option, value in (("--issuer", issuer), ("--default-audience", default_audience)):
        if value is not None and (not value.strip() or len(value) > 1024 or not value.isprintable()):
            raise InvalidRequest(f"{option}: is empty, too long or not printable")
    profile = config.Profile(
        name=name, backend=backend, issuer=issuer, default_audience=default_audience, eddsa_name=eddsa_name or "EdDSA",
        jwks_file=_jwks_file(context, name, jwks_file), verifiers=_verifiers(verifiers),
    )  # fmt: skip
    profile = remotely(context, profile, remote, yes=yes)
    places = context.places
    try:
        before = config.load_profile(places, name)
    except NotFound:
        before = None
    settings = _apart_from_rules(before) if before is not None else None
    implicit = name == config.DEFAULT_PROFILE and settings == config.Profile(name=name)
    if settings is not None and settings != profile and not implicit:
        raise Conflict(f"profile {name} is there with other settings", hint=f"tokenctl profile show {name}")
    config.save_profile(places, profile)
    context.console.chat(f"profile {name} ({backend}); use it: {context.console.program} profile use {name}")
    _document(context, "add", name)
    return 0


def _apart_from_rules(profile: config.Profile) -> config.Profile:
    """Return what of a profile's settings ``add`` can say."""
    return profile._replace(tables=None, rotation_table=None, review_table=None, trust_tables=())


def _jwks_file(context: Context, name: str, path: str | None) -> str | None:
    if path is None:
        return None
    if not path.isprintable() or not os.path.basename(path) or context.places.owns(path, name):
        raise InvalidRequest("--jwks-file: names no file, or one of tokenctl's own", hint="name another file")
    for other in config.sharing(context.places, name, path):
        raise Conflict(f"--jwks-file: profile {other} writes its keys there", hint="name another file")
    return os.path.abspath(path)


def _verifiers(urls: tuple[str, ...]) -> tuple[str, ...]:
    if urls:
        from tokenctl.workflows.canary import check_verifier

        with naming("--verifier"):
            for url in urls:
                check_verifier(url)
    return urls


def _document(context: Context, action: str, name: str) -> None:
    if context.console.machine:
        context.console.document({"action": action, "profile": name, "warnings": list(context.console.warnings)})


def list_profiles(context: Context) -> int:
    """Print every profile, the one in use marked."""
    console, places = context.console, context.places
    current = wiring.profile_name(context.profile, context.surroundings)
    rows = [(name, config.load_profile(places, name).backend, name == current) for name in config.profile_names(places)]
    if console.output == "json":
        console.document({"profiles": [_member(row) for row in rows], "warnings": list(console.warnings)})
        return 0
    for row in rows:
        if console.output == "jsonl":
            console.document(_member(row))
        elif console.on_terminal:
            console.answer(f"{'*' if row[2] else ' '} {row[0]:<20}  {row[1]}")
        else:
            console.answer("\t".join((row[0], row[1], "current" if row[2] else "-")))
    return 0


def _member(row: tuple[str, str, bool]) -> dict[str, object]:
    return {"name": row[0], "backend": row[1], "current": row[2]}


def show(context: Context, name: str | None) -> int:
    """Print a profile's settings, where its files lie, and what its policy allows.

    Raises:
        InvalidConfiguration: its policy or the ceiling is not understood (exit 9).
    """
    from tokenctl.commands.policy_screen import explain

    places, console = context.places, context.console
    profile = wiring.open_profile(name if name is not None else context.profile, context.surroundings)
    members: dict[str, object] = {
        "name": profile.name, "backend": profile.backend, "issuer": profile.issuer,
        "default_audience": profile.default_audience, "eddsa_name": profile.eddsa_name,
        "jwks_file": profile.jwks_file, "verifiers": list(profile.verifiers), "keyring_backend": profile.keyring_backend,
        "rotation": {name: format_duration(value) for name, value in profile.rotation._asdict().items()},
        "review": _thresholds(profile.review), "service": profile.service.table() if profile.backend != "local" else None,
        "trust": [trusted.table() for trusted in profile.trusted],
        "file": places.profile(profile.name), "store": places.store(profile.name),
        "root_secret": places.root_secret(profile.name), "anchor": places.anchor(profile.name),
    }  # fmt: skip
    policy = config.load_policy(places, profile)
    if console.machine:
        facts = {"hash": policy.hash, **policy.plain(), "ceiling_file": places.ceiling}
        console.document({**members, "policy": facts, "warnings": list(console.warnings)})
        return 0
    for key, value in [*members.items(), *explain(policy, places.ceiling)]:
        told = _told(value)
        if console.on_terminal:
            told = told[:_SHORT_HASH] if key == "policy" else places.shown(told)
        console.answer(console.fold(f"{key:<16}  ", told) if console.on_terminal else f"{key}\t{told}")
    return 0


def _thresholds(review: Review) -> dict[str, object]:
    """Return what ``audit review`` goes by, as a profile's file writes it."""
    told: dict[str, object] = {"max_lifetime": {kind: format_duration(each) for kind, each in review.max_lifetime.items()}}
    told |= {name: format_duration(getattr(review, name)) for name in ("never_used", "unused", "expiring", "checkpoint")}
    return told | {"tokens_per_owner": review.tokens_per_owner, "broad_scopes": list(review.broad_scopes)}


def _told(value: object) -> str:
    if isinstance(value, dict):
        parts = [f"({_told(told)})" if isinstance(told, dict) else _told(told) for told in value.values()]
        return ", ".join(f"{name} {part}" for name, part in zip(value, parts, strict=True))
    if isinstance(value, list):
        value = " ".join(f"({_told(each)})" if isinstance(each, dict) else each for each in value) or None
    return "-" if value is None else escape(str(value))


def use(context: Context, name: str) -> int:
    """Make a profile the one that is meant where none is named; raises NotFound (exit 5)."""
    config.load_profile(context.places, name)
    config.select_profile(context.places, name)
    context.console.chat(f"now in use: {name}")
    _document(context, "use", name)
    return 0


def remove(context: Context, name: str, *, yes: bool) -> int:
    """Remove a profile's file; its store, root secret and anchor stay.

    Raises:
        NotFound: there is no such file (exit 5).
        Conflict: it is in use (exit 6).
    """
    config.check_name(name)
    profile = config.load_profile(context.places, name) if name != config.DEFAULT_PROFILE else config.Profile(name=name)
    if name == config.current_name(context.places, {}) and name != config.DEFAULT_PROFILE:
        raise Conflict(f"profile {name} is in use", hint="tokenctl profile use local")
    if not yes:
        told = " Its store, root secret and anchor stay." if _kept(context.places, name) else ""
        context.console.confirm(f"Remove profile {name}?{told}", 1, "removed")
    config.delete_profile(context.places, name)
    stays = [context.places.shown(path) for path in _kept(context.places, name)]
    if profile.backend != "local":
        _tell_of_credential(context, profile)
    context.console.chat(f"removed {name}; " + (f"what stays: {', '.join(stays)}" if stays else "it had no store"))
    _document(context, "remove", name)
    return 0


def _tell_of_credential(context: Context, profile: config.Profile) -> None:
    """Say that the keyring still holds the credential of a profile that is gone, or that this is not known."""
    lookup = wiring.operator(profile, context.surroundings._replace(announce=None))
    try:
        told = "its credential stays in" if lookup.keyring().read(lookup.account) is not None else None
    except AccessDenied as error:
        told = f"its credential may be in the keyring ({error.message}):"
    if told is not None:
        context.console.warn(
            f"{told} the keyring's item {lookup.account}; to forget it: {context.console.program} logout -p {profile.name}"
        )


def _kept(places: config.Places, name: str) -> list[str]:
    """Return what of a profile outlives its file."""
    return [path for path in (places.store(name), places.root_secret(name), places.anchor(name)) if os.path.lexists(path)]
