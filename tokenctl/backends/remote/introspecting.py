"""What a service says of a token, beside what its keys and our row say: where they disagree, all of it is told.

A token goes to the service only where a row of this profile, or a signature under the service's keys, says that it is the
service's; any other only where the operator named the service for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokenctl import operators
from tokenctl.backends.local import introspecting as local
from tokenctl.backends.local.standing import look
from tokenctl.backends.remote import ledger
from tokenctl.backends.remote.service import Facts, Reference
from tokenctl.backends.verification import FOREIGN_LEEWAY, Judgement, judge
from tokenctl.errors import TokenctlError
from tokenctl.formats import jwt
from tokenctl.model.checks import Check
from tokenctl.model.introspection import Expectations, Found, Introspection
from tokenctl.model.times import LAST_INSTANT, SECOND, format_instant
from tokenctl.model.token import Standing, Token
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.backends.remote.authority import RemoteAuthority


def presented(authority: RemoteAuthority, text: Secret, expectations: Expectations) -> Introspection:
    """Judge a presented token."""
    if not operators.is_token(text.reveal()):
        check = Check(name="form", ok=False, detail="no bearer token (RFC 6750)")
        return Introspection(active=False, state="unknown", checks=[check])
    foreign = _foreign(authority, text, expectations) if not authority.asked else None
    if foreign is not None:
        return foreign
    known = _known(authority, text)
    judgement = _judged(authority, text, expectations, required=known is None)
    if known is None and not authority.asked and (judgement is None or judgement.signature != "valid"):
        return _not_ours(authority, judgement)
    if expectations.offline:
        check = Check(name="state", ok=None, detail="not asked: --offline")
        if judgement is not None:
            failed = any(made.ok is False for made in judgement.checks)
            return judgement.answer(active=False if failed else None, state="not_checked", extra=[check])
        return Introspection(active=None, state="not_checked", checks=[check], found=known)
    facts = authority.service.ask(Reference(known.token.id if known is not None else None, text))
    return _answer(authority, text, known, judgement, facts, expectations)


def named(authority: RemoteAuthority, identifier: str, expectations: Expectations) -> Introspection | None:
    """Judge the token of an id: by its handle where the service takes one, else by our row, which is no answer of the service."""
    with authority.journal.reading() as view:
        stored = view.rows.token(identifier) if view is not None else None
        known = look(view, stored, count_children=True) if view is not None and stored is not None else None
    if authority.service.by_handle and (known is not None or authority.is_handle(identifier)):
        facts = authority.service.ask(Reference(identifier))
        if facts is None or (known is None and not facts.active and facts.sure):
            return None if known is None else _answer(authority, None, known, None, facts, expectations)
        return _answer(authority, None, known, None, facts, expectations)
    if known is None:
        return None
    dead = not known.standing.active
    told = None if dead else "the service is asked by the token itself alone: pipe it in"
    checks = [Check(name="state", ok=False if dead else None, detail=known.standing.state if dead else told)]
    return Introspection(
        active=False if dead else None, state=known.standing.state if dead else "not_checked", checks=checks, found=known
    )


def prove(authority: RemoteAuthority, text: Secret) -> str | None:
    """Return the id of a token that has a row here, whose signature holds under the service's keys, or that was asked for."""
    known = _known(authority, text)
    if known is not None:
        return known.token.id
    judgement = _judged(authority, text, Expectations(any_audience=True, ignore_binding=True))
    if judgement is not None and judgement.signature == "valid":
        jti = (judgement.claims or {}).get("jti")
        if isinstance(jti, str) and ledger.HANDLE.fullmatch(jti):
            return jti
        return _derived(authority, text)
    return _derived(authority, text) if authority.asked else None


def _derived(authority: RemoteAuthority, text: Secret) -> str:
    with authority.journal.changing(create=True) as change:  # the id is made with a secret of the store
        assert change is not None
        return ledger.derived_id(change, text)


def _known(authority: RemoteAuthority, text: Secret) -> Found | None:
    with authority.journal.reading() as view:
        known = ledger.recognise(view, text) if view is not None else None
        return known.found if known is not None else None


def _judged(
    authority: RemoteAuthority, text: Secret, expectations: Expectations, *, required: bool = True
) -> Judgement | None:  # fmt: skip
    """Judge a JWT of the service's issuer by the service's keys; ``None`` for anything else.

    Args:
        required: Whether nothing but its signature says that it is the service's: then keys that are out of reach end it.
    """
    if (ledger.claims_of(text) or {}).get("iss") != authority.authority_url:
        return None
    written = text.reveal().decode("ascii")
    kid = jwt.decode_unverified(written).header.get("kid")
    try:
        keys = authority.service.keys(kid=kid if isinstance(kid, str) else None, offline=expectations.offline)
    except TokenctlError:
        if required:
            raise
        keys = None
    leeway = FOREIGN_LEEWAY if expectations.leeway is None else expectations.leeway
    return judge(written, keys, expectations, authority.journal.clock, leeway=leeway)


def _foreign(authority: RemoteAuthority, text: Secret, expectations: Expectations) -> Introspection | None:
    """Judge a JWT of another issuer, by its keys where the profile trusts it; ``None`` for anything else, and for one of ours."""
    issuer = (ledger.claims_of(text) or {}).get("iss")
    if issuer in (None, authority.authority_url) or _known(authority, text) is not None:
        return None
    return authority.introspect_foreign(text.reveal().decode("ascii"), expectations)


def _not_ours(authority: RemoteAuthority, judgement: Judgement | None) -> Introspection:
    """Say of a token that nothing ties to the service that nobody was asked."""
    check = Check(
        name="known", ok=None,
        detail=f"no token of profile {authority.name}, so it was sent nowhere; to send it to {authority.authority_url}:"
        f" --ask {authority.name}",
    )  # fmt: skip
    if judgement is not None:
        return judgement.answer(active=False, state="not_active", extra=[check])
    return Introspection(active=None, state="not_checked", checks=[check])


def _answer(
    authority: RemoteAuthority, text: Secret | None, known: Found | None, judgement: Judgement | None, facts: Facts | None,
    expectations: Expectations,
) -> Introspection:  # fmt: skip
    """Put together what the service, its keys and our row say."""
    now = authority.journal.clock
    checks = list(judgement.checks) if judgement is not None else [Check(name="form", ok=True)]
    findings = list(judgement.findings) if judgement is not None else []
    if facts is None:
        checks.append(Check(name="introspection", ok=None, detail="the service does not answer for this token"))
        active = _without_answer(text, judgement)
        state = "active" if active else "not_active" if active is False else "not_checked"
        if active is False and judgement is None:
            checks.append(Check(name="signature", ok=False, detail="no key of its issuer: nothing verifies it"))
    else:
        detail = None if facts.active else "the service does not accept it"
        ended = known is not None and not known.standing.active
        if not facts.active and not facts.sure and not ended:
            detail = "the service does not know it, and one of its nodes that does not lag was not to be asked"
            check = Check(name="introspection", ok=None, detail=detail)
            return Introspection(active=None, state="not_checked", checks=[*checks, check], found=known)
        checks.append(Check(name="introspection", ok=facts.active, detail=detail))
        if facts.active:
            checks += _demands(facts, judgement, expectations, now)
        active = facts.active and all(check.ok is not False for check in checks)
        findings += _disagreements(facts, judgement)
        state = "active" if active else _state(known, facts, judgement)
    if facts is not None and judgement is not None and judgement.passed and not facts.active:
        until = _instant(facts_of(text).get("exp")) if text is not None else None
        told = f" until {format_instant(until)}" if until is not None else ""
        findings.append(("disagreement", f"verifiers that do not ask the service may accept it{told}"))
    if facts is not None and facts.active and known is not None and known.token.revoked_at is not None:
        findings.append(("disagreement", "it was revoked through this profile, and the service accepts it"))
    forged = judgement is not None and judgement.signature == "invalid"
    found = _found(authority, text, known, facts if known is not None or not forged else None, state)
    return Introspection(
        active=active, state=state, checks=checks, found=found,
        signature=judgement.signature if judgement is not None else None,
        header=judgement.header if judgement is not None else None,
        claims=judgement.claims if judgement is not None else None,
        findings=findings, members=dict(facts.members) if facts is not None else None,
    )  # fmt: skip


def _without_answer(text: Secret | None, judgement: Judgement | None) -> bool | None:
    """Decide by its signature alone; ``None`` where that was not to be had, ``False`` for what is no JWT at all."""
    if judgement is not None:
        failed = any(check.ok is False for check in judgement.checks)
        return False if failed else True if judgement.signature == "valid" else None
    return None if text is None or b"." not in text.reveal() else False  # a JWT that nothing verifies is not accepted


def _disagreements(facts: Facts, judgement: Judgement | None) -> list[tuple[str, str]]:
    """Return where the service says of a token what its claims do not."""
    if judgement is None or judgement.claims is None or not facts.active:
        return []
    claims, members = judgement.claims, facts.members
    different: list[str] = [
        name
        for name in ("iss", "sub", "client_id", "exp", "jti")
        if name in claims and name in members and claims[name] != members[name]
    ]
    for name, split in (("scope", True), ("aud", False)):
        if name in claims and name in members:
            said, carried = (set(_texts(source[name], split=split)) for source in (members, claims))
            different += [name] if said != carried else []
    if not different:
        return []
    return [("disagreement", f"the service says otherwise than the token itself: {', '.join(different)}")]


def facts_of(text: Secret) -> Mapping[str, object]:
    return ledger.claims_of(text) or {}


def _state(known: Found | None, facts: Facts, judgement: Judgement | None) -> str:
    if known is None and judgement is not None and judgement.signature == "invalid":
        return "unknown"
    if facts.active:
        return "not_active"
    if known is not None and not known.standing.active:
        return known.standing.state
    return "revoked" if known is not None else "unknown"


def _demands(facts: Facts, judgement: Judgement | None, expectations: Expectations, now: int) -> list[Check]:
    """Return the checks of what the one who asks demands, by the service's answer; those of a JWT were made by its claims."""
    members, checks = facts.members, []
    if judgement is not None:
        return []
    end = _instant(members.get("exp"))
    if end is not None and end <= now:
        checks.append(
            Check(name="time", ok=False, detail=f"the service calls it active, and it expired at {format_instant(end)}")
        )
    if expectations.issuer is not None:
        ok = members.get("iss") == expectations.issuer
        checks.append(Check(name="issuer", ok=ok, detail=None if ok else "the service names another issuer, or none"))
    audience = _texts(members.get("aud"))
    if audience and not expectations.audiences and not expectations.any_audience:
        checks.append(Check(name="not_asked", ok=False, detail="it is for an audience: give --audience or --any-audience"))
    if expectations.audiences:
        ok = bool(set(audience) & set(expectations.audiences))
        checks.append(Check(name="audience", ok=ok, detail=None if ok else "the token is not for this audience"))
    if expectations.scopes:
        missing = sorted(set(expectations.scopes) - set(_texts(members.get("scope"), split=True)))
        checks.append(Check(name="scope", ok=not missing, detail=f"lacks {' '.join(missing)}" if missing else None))
    if expectations.valid_for is not None and end is None:
        checks.append(Check(name="valid_for", ok=False, detail="the service does not say when it expires"))
    elif end is not None:
        checks += local.lifetime_check(end, expectations, now)
    if "cnf" in members and not expectations.ignore_binding:
        checks.append(Check(name="not_asked", ok=False, detail="the token is bound to a key (cnf); no proof was presented"))
    return checks


def _found(
    authority: RemoteAuthority, text: Secret | None, known: Found | None, facts: Facts | None, state: str
) -> Found | None:  # fmt: skip
    """Return the token as the service tells it, and what only our row knows of it."""
    members = facts.members if facts is not None and facts.active else {}
    standing = Standing(state=state if state in ("active", "revoked", "expired") else "active")
    if known is not None:
        token = known.token
        end, scope = _instant(members.get("exp")), members.get("scope")
        begin = _instant(members.get("iat"))
        token = token._replace(
            expires_at=end if end is not None else token.expires_at,
            issued_at=begin if end is not None and begin is not None else token.issued_at,
        )
        if scope is not None:
            token = token._replace(scope=tuple(sorted(_texts(scope, split=True))))
        if facts is not None and facts.uses_left is not None and token.max_uses is not None:
            token = token._replace(uses=max(token.max_uses - facts.uses_left, 0))
        children = max(known.children, facts.children if facts is not None else 0)
        return known._replace(token=token, standing=standing, children=children)
    if facts is None or not facts.active:
        return None
    identifier = facts.handle or _text(members.get("jti"))
    if identifier is None or not ledger.HANDLE.fullmatch(identifier):
        identifier = _derived(authority, text) if text is not None else "-"
    token = Token(
        id=identifier, kind="access", format="jwt" if text is not None and ledger.claims_of(text) else "opaque",
        subject=_text(members.get("sub")) or _text(members.get("client_id")) or "-", owner=_text(members.get("username")) or "-",
        issued_by=authority.authority_url, issued_at=_instant(members.get("iat")) or 0,  # where it does not say
        expires_at=_instant(members.get("exp")) or LAST_INSTANT, issuer=authority.authority_url, verifier=b"",
        scope=tuple(sorted(_texts(members.get("scope"), split=True))), audience=tuple(sorted(_texts(members.get("aud")))),
        delivered_at=None, parent=facts.parent,
    )  # fmt: skip
    return Found(token=token, standing=standing, children=facts.children)


def _instant(value: object) -> int | None:
    """Return a NumericDate as milliseconds; services write floats too. ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LAST_INSTANT // SECOND:
        return None
    return int(value * SECOND)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object, *, split: bool = False) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split()) if split else (value,)
    if isinstance(value, list):
        return tuple(entry for entry in value if isinstance(entry, str))
    return ()
