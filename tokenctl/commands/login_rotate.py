"""``login --rotate``: the operator's own credential gives way to a fresh one."""

from __future__ import annotations

import os

from tokenctl import files, wiring
from tokenctl.backends.remote import ledger
from tokenctl.backends.remote.renewal import Renewal, recorded
from tokenctl.commands.context import Context
from tokenctl.commands.login import document, origins_of, read_stdin, remote_profile
from tokenctl.config import Profile
from tokenctl.errors import Conflict, InvalidRequest
from tokenctl.operators import Kept
from tokenctl.render.escape import cell
from tokenctl.secret import Secret
from tokenctl.store import lock
from tokenctl.workflows import rotate_credential


def rotate(context: Context, place: str | None, *, in_place: bool, yes: bool) -> int:
    """Make a fresh credential, prove it, switch to it and end the former one; or go on where that ended before.

    Args:
        place: ``-``: the initial access token for the registration of a client comes by standard input.
        in_place: Let the service replace the secret of the client (RFC 7592 section 2.2).
        yes: Do not ask.

    Raises:
        InvalidRequest: not confirmed (exit 2).
        Conflict: another command rotated it meanwhile (exit 6).
        AccessDenied: the credential is missing, refused, or may not do it (exit 4).
        Unanswered: what was begun goes on by the same command (exit 7).
        ServerError: the service does not accept what it handed out: nothing was changed (exit 8).
        InvalidConfiguration: the service, or the place of the credential, has no way to do it (exit 9).
        Partial: the former one may still be accepted (exit 11).
    """
    if place not in (None, "-"):
        raise InvalidRequest("an initial access token comes by standard input: tokenctl login --rotate -")
    profile, console = remote_profile(context), context.console
    initial = Secret(read_stdin().strip()) if place == "-" else None
    kept = _kept(context, profile)
    with context.backend() as backend:

        def issued() -> int:
            with backend.journal.reading() as view:
                return ledger.living(view) if view is not None else 0

        renewal = wiring.renewal(
            profile, context.surroundings, kept.credential, initial=initial, in_place=in_place, issued=issued
        )  # fmt: skip
        if kept.credential.former is None:
            renewal.check(kept.credential)
            if not yes:
                console.confirm(_question(profile, backend.place, renewal, issued()), 1, "rotated")
        folder = os.path.dirname(backend.journal.path)
        files.make_directory(folder)
        with lock.exclusive(os.path.join(folder, "credential.lock"), deadline=context.surroundings.timeout):
            current = _kept(context, profile)
            if current.credential.secret != kept.credential.secret:
                raise Conflict("the credential was rotated by another command meanwhile: nothing was done", reason="rotated")
            subject = current.credential.client_id or current.credential.role_id
            with recorded(backend.journal, "credential.rotate", subject, renewal.way):
                credential = rotate_credential.rotate(current, renewal, backend.place)
    told = credential.client_id or credential.role_id
    console.chat(f"profile {profile.name}: the fresh credential is in use, the former one is refused ({renewal.way})")
    named = profile.service.client_id
    if credential.client_id is not None and named not in (None, credential.client_id):
        console.warn(f"the file of profile {profile.name} names the client before: client_id is {cell(credential.client_id)} now")
    document(context, {"action": "rotate", "profile": profile.name, "subject": told, "way": renewal.way})
    return 0


def _kept(context: Context, profile: Profile) -> Kept:
    """Return the credential with what belongs to it, where it is kept."""
    kept = wiring.operator(profile, context.surroundings).kept(method=wiring.credential_method(profile))
    found = kept.credential
    kept.credential = found._replace(
        client_id=found.client_id or profile.service.client_id, origins=found.origins or frozenset(origins_of(profile))
    )
    kept.credential.require(origins_of(profile), profile.name)
    return kept


def _question(profile: Profile, place: str, renewal: Renewal, issued: int) -> str:
    living = ""
    if issued and renewal.way == "another_client":
        living = f" Living tokens that this client obtained: {issued:,}. They may die, and the next one may not revoke them."
    return f"Profile {profile.name} ({place}): {renewal.told}.{living} Go on?"
