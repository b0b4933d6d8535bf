"""Introspecting: facts about a presented token. It changes nothing; an unknown token and a wrong secret look the same."""

from __future__ import annotations

import hmac

from tokenctl.backends.local import sealing
from tokenctl.backends.local.standing import event_about, look
from tokenctl.backends.local.view import Change, View
from tokenctl.errors import IntegrityError
from tokenctl.formats import opaque
from tokenctl.model.checks import Check
from tokenctl.model.introspection import Expectations, Found, Introspection
from tokenctl.model.times import format_duration, format_instant
from tokenctl.model.token import Token
from tokenctl.secret import Secret
from tokenctl.store.rows import Stored


def looks_like_jwt(text: str) -> bool:
    """Whether a text is to be judged as a JWT: anything in dotted parts that is not of our own form."""
    return "." in text and not text.startswith("tkc_")


def introspect(
    view: View | None, presented: Secret, expectations: Expectations, now: int, *, count_children: bool = True
) -> Introspection:
    """Judge a presented token.

    Args:
        view: The store, or ``None`` where there is none yet: then every token is unknown.

    Raises:
        IntegrityError: the token would be active, but its row or the store does not check out (exit 10).
    """
    text = presented.reveal().decode("utf-8", "replace")
    if looks_like_jwt(text):
        from tokenctl.backends.local import own_jwt

        return own_jwt.introspect(view, text, expectations, now, count_children=count_children)
    return _introspect_opaque(view, text, expectations, now, count_children=count_children)


def _introspect_opaque(
    view: View | None, text: str, expectations: Expectations, now: int, *, count_children: bool
) -> Introspection:
    token = opaque.parse(text)
    if isinstance(token, str):
        return Introspection(active=False, state="unknown", checks=[Check(name="form", ok=False, detail=token)])
    checks = [Check(name="form", ok=True)]
    if expectations.offline:
        checks.append(Check(name="state", ok=None, detail="not asked: --offline"))
        return Introspection(active=None, state="not_checked", checks=checks)
    found = _proved(view, token, count_children=count_children)
    checks.append(Check(name="known", ok=found is not None, detail=None if found else "no token of this profile has this secret"))
    if found is None or view is None:
        return Introspection(active=False, state="unknown", checks=checks)
    checks += state_checks(found) + demands(found.token, expectations, now)
    return conclude(view, found, checks)


def _proved(view: View | None, token: opaque.OpaqueToken, *, count_children: bool) -> Found | None:
    stored = view.rows.token(token.id) if view is not None else None
    if view is None:
        return None
    if stored is not None and not stored.intact:
        raise IntegrityError(
            f"the row of the token {token.id} does not check out", hint=f"tokenctl revoke {token.id}; tokenctl audit verify"
        )
    expected = stored.row.verifier if stored is not None else None
    actual = sealing.verifier(_pepper(view, stored), view.store_id, token.text)
    # Compared also where there is no row, so that both answers take as long.
    if not hmac.compare_digest(expected or bytes(len(actual)), actual) or stored is None:
        return None
    return look(view, stored, count_children=count_children)


def _pepper(view: View, stored: Stored[Token] | None) -> bytes:
    """Return the pepper that a token was made with; where it is kept no more, one that proves nothing."""
    version = stored.row.pepper_version if stored is not None else None
    if version is None or version == view.keys.version:
        return view.keys.pepper
    from tokenctl.backends.local.retaining import retained  # only a token from before a rotation needs it

    kept = retained(view, version)
    return kept.pepper if kept is not None else view.keys.pepper


def prove(view: View | None, presented: Secret) -> str | None:
    """Return the id of the token whose secret or signature is proved; its state does not matter."""
    text = presented.reveal().decode("utf-8", "replace")
    if looks_like_jwt(text):
        from tokenctl.backends.local import own_jwt

        return own_jwt.prove(view, text)
    token = opaque.parse(text)
    if isinstance(token, str):
        return None
    found = _proved(view, token, count_children=False)
    return found.token.id if found else None


def state_checks(found: Found) -> list[Check]:
    """Return the checks of time and state of a known token."""
    standing = found.standing
    in_time = standing.state not in ("expired", "not_yet_valid")
    detail = {
        "expired": f"expired at {format_instant(found.token.expires_at)}",
        "not_yet_valid": f"not valid before {format_instant(found.token.not_before or 0)}",
    }.get(standing.state)
    denied = standing.state if not standing.active and in_time else None
    return [
        Check(name="time", ok=in_time, detail=detail),
        Check(name="state", ok=denied is None, detail=f"{denied}: {standing.cause}" if denied and standing.cause else denied),
    ]


def demands(token: Token, expectations: Expectations, now: int) -> list[Check]:
    """Return the checks of what the one who asks demands of a known opaque token."""
    checks = []
    if expectations.issuer is not None:
        checks.append(Check(name="issuer", ok=False, detail="an opaque token names no issuer"))
    if token.audience and not expectations.audiences and not expectations.any_audience:
        checks.append(Check(name="not_asked", ok=False, detail="it is for an audience: give --audience or --any-audience"))
    return checks + named_demands(token, expectations, now)


def named_demands(token: Token, expectations: Expectations, now: int) -> list[Check]:
    """Return the checks that also make sense of a token that is only named."""
    checks = []
    if expectations.audiences:
        ok = bool(set(token.audience) & set(expectations.audiences))
        checks.append(Check(name="audience", ok=ok, detail=None if ok else "the token is not for this audience"))
    missing = sorted(set(expectations.scopes) - set(token.scope))
    if expectations.scopes:
        checks.append(Check(name="scope", ok=not missing, detail=f"lacks {' '.join(missing)}" if missing else None))
    return checks + lifetime_check(token.ends_at, expectations, now)


def lifetime_check(ends_at: int, expectations: Expectations, now: int) -> list[Check]:
    """Return the check of ``--valid-for``."""
    if expectations.valid_for is None:
        return []
    ok = ends_at - now >= expectations.valid_for
    left = format_duration(ends_at - now)
    return [Check(name="valid_for", ok=ok, detail=None if ok else f"only {left} left")]


def conclude(view: View, found: Found, checks: list[Check], **facts: object) -> Introspection:
    """Turn checks into an answer; what does not check out is never called active.

    Raises:
        IntegrityError: every check passed, but the row or the store does not check out (exit 10).
    """
    accepted = found.standing.active and all(check.ok is not False for check in checks)
    if not found.intact:
        raise IntegrityError(f"the row of the token {found.token.id} does not check out", hint="tokenctl audit verify")
    if accepted:
        view.require_trust()
    state = found.standing.state
    return Introspection(active=accepted, state=state, checks=checks, found=found, **facts)  # type: ignore[arg-type]


def spend(change: Change, answer: Introspection) -> Introspection:
    """Count the use of an accepted token, and spend it with a record where its uses are limited; what it replaces ends."""
    found = answer.found
    if not answer.active or found is None:
        return answer
    token = found.token._replace(uses=found.token.uses + 1, last_used_at=change.now)
    if token.max_uses is None:
        change.rows.observe_use(token)
    else:
        record = change.append(event_about("token.use", token, parameters={"uses": token.uses}))
        token = token._replace(leaf=record.seq)
        change.rows.update_token(token, "uses", "last_used_at", "leaf")
    if token.replaces is not None:
        from tokenctl.backends.local import succeeding

        succeeding.take_place(change, token)
    return answer._replace(found=found._replace(token=token))
