"""``inspect``: say of each token whether it is accepted, and why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tokenctl.backends.base import Backend
from tokenctl.commands import inputs
from tokenctl.commands.context import Context
from tokenctl.commands.parts import usage_of
from tokenctl.errors import AccessDenied, IntegrityError, InvalidRequest, Partial, TemporarilyUnavailable, naming, worst
from tokenctl.formats import pasted
from tokenctl.model.checks import Check
from tokenctl.model.introspection import Expectations, Introspection
from tokenctl.model.times import MINUTE, parse_duration
from tokenctl.secret import Secret

if TYPE_CHECKING:
    from tokenctl.commands.everywhere import Everywhere

_LONGEST_LEEWAY = 5 * MINUTE


class Question(NamedTuple):
    """What is asked about the tokens, as it was typed; places to read them from included."""

    targets: tuple[str, ...] = ()
    file: str | None = None
    fd: int | None = None
    use: bool = False
    offline: bool = False
    valid_for: str | None = None
    jwks: str | None = None
    issuer: str | None = None
    audience: tuple[str, ...] = ()
    any_audience: bool = False
    scope: tuple[str, ...] = ()
    leeway: str | None = None
    ignore_binding: bool = False
    ask: str | None = None
    all_profiles: bool = False


class Answer(NamedTuple):
    """One answer and its exit code; ``named`` where an id was asked for that may be unknown, ``backend`` who was asked."""

    introspection: Introspection | None
    code: int
    named: str | None = None
    backend: Backend | None = None


def inspect(context: Context, question: Question) -> int:
    """Answer for every token named or presented; return the one exit code of cli.md.

    Raises:
        InvalidRequest: nothing readable was given (exit 2).
        IntegrityError: an active token in a store that does not check out (exit 10).
    """
    _check_combination(question)
    context = context.asking(question.ask)
    expectations = _expectations(question)
    named = [target for target in question.targets if target != "-"]
    reads = "-" in question.targets or question.file is not None or question.fd is not None or not named
    lines = inputs.presented_lines(context, stdin="-" in question.targets, file=question.file, fd=question.fd) if reads else []
    if question.all_profiles:
        return _everywhere(context, question, named, lines, expectations)
    if question.jwks is not None:
        answers = list(_foreign(context, question.jwks, lines, expectations))
        return _print(context, None, answers)
    with context.backend() as backend:
        if question.use:
            usage_of(backend)
        if question.use and any(pasted.presented(line, backend.form)[0] is not None for line in lines):
            raise InvalidRequest("--use accepts a presented token, an id proves nothing")
        answers = []
        for identifier in [inputs.id_of(target, backend) for target in named]:
            answers += _guarded(context, partial(_named, backend, identifier, expectations))
        for line in lines:
            answers += _guarded(context, partial(_presented, backend, line, question, expectations))
        return _print(context, backend, answers)


def _everywhere(
    context: Context, question: Question, named: list[str], lines: list[str], expectations: Expectations
) -> int:  # fmt: skip
    """Answer for each where it belongs to."""
    from tokenctl.commands.everywhere import every_profile

    with every_profile(context) as everywhere:
        answers = []
        for target in named:
            answers += _named_somewhere(everywhere, target, expectations, context)
        for line in lines:
            identifier, tokens = pasted.presented(line, everywhere.form)
            if identifier is not None:
                answers += _named_somewhere(everywhere, identifier, expectations, context)
            for token in tokens:
                place = everywhere.owner_of(token)
                if place is None:
                    answers.append(_nowhere(token, expectations, context))
                    continue
                asked = partial(_judged, place.backend, token, question, expectations)
                answers += [answer._replace(backend=place.backend) for answer in _guarded(context, asked)]
        code = _print(context, None, answers)
        return code if not everywhere.closed or code == IntegrityError.exit_code else Partial.exit_code


def _named_somewhere(everywhere: Everywhere, identifier: str, expectations: Expectations, context: Context) -> list[Answer]:
    place = everywhere.keeper_of(identifier)
    if place is None:
        return [Answer(introspection=None, code=5, named=identifier)]
    answers = _guarded(context, partial(_named, place.backend, identifier, expectations))
    return [answer._replace(backend=place.backend) for answer in answers]


def _nowhere(token: Secret, expectations: Expectations, context: Context) -> Answer:
    """Answer for a token that belongs to no profile, and was therefore sent nowhere."""
    text = token.reveal().decode("utf-8", "replace")
    if text.startswith("tkc_"):
        check = Check(name="known", ok=False, detail="no profile knows it")
        return Answer(Introspection(active=False, state="unknown", checks=[check]), code=3)
    check = Check(name="known", ok=None, detail="it belongs to no profile, so it was sent nowhere; to send it: --ask PROFILE")
    if text.count(".") == 2:
        from tokenctl.backends.verification import introspect_foreign

        answer = introspect_foreign(text, None, expectations, context.now)
        return Answer(answer._replace(checks=[*answer.checks, check]), code=3)
    return Answer(Introspection(active=None, state="not_checked", checks=[check]), code=11)


def _guarded(context: Context, ask: Callable[[], Iterable[Answer]]) -> list[Answer]:
    """Ask; a token that does not check out is told and does not keep the others from their answers."""
    try:
        return list(ask())
    except (AccessDenied, IntegrityError, TemporarilyUnavailable) as error:
        context.console.error(error)
        return [Answer(introspection=None, code=error.exit_code)]


def _check_combination(question: Question) -> None:
    if sum(("-" in question.targets, question.file is not None, question.fd is not None)) > 1:
        raise InvalidRequest("-, --file and --fd exclude each other")
    if question.use and (question.offline or question.jwks is not None):
        raise InvalidRequest("--use asks the store: it goes with neither --offline nor --jwks")
    if question.use and any(target != "-" for target in question.targets):
        raise InvalidRequest("--use accepts a presented token, an id proves nothing", hint="tokenctl inspect --use - < FILE")
    if question.jwks is not None and any(target != "-" for target in question.targets):
        raise InvalidRequest(
            "--jwks judges a presented JWT, an id has no signature", hint="tokenctl inspect - --jwks FILE < TOKEN"
        )
    for option, texts in (("--issuer", (question.issuer,)), ("--audience", question.audience), ("--scope", question.scope)):
        if "" in texts:
            raise InvalidRequest(f"{option}: is empty", hint="tokenctl inspect --help")
    if question.all_profiles and (question.jwks is not None or question.ask is not None):
        raise InvalidRequest("--all-profiles goes with neither --jwks nor --ask")
    if question.any_audience and question.audience:
        raise InvalidRequest("--audience and --any-audience exclude each other")


def _expectations(question: Question) -> Expectations:
    leeway = None
    if question.leeway is not None:
        with naming("--leeway"):
            leeway = 0 if question.leeway in ("0", "0s") else parse_duration(question.leeway)
        if leeway > _LONGEST_LEEWAY:
            raise InvalidRequest("--leeway: at most 5m")
    valid_for = None
    if question.valid_for is not None:
        with naming("--valid-for"):
            valid_for = parse_duration(question.valid_for)
    return Expectations(
        issuer=question.issuer, audiences=question.audience, any_audience=question.any_audience, scopes=question.scope,
        leeway=leeway, valid_for=valid_for,
        ignore_binding=question.ignore_binding, offline=question.offline,
    )  # fmt: skip


def _named(backend: Backend, identifier: str, expectations: Expectations) -> Iterable[Answer]:
    answer = backend.named(identifier, expectations)
    yield Answer(introspection=answer, code=5 if answer is None else _code(answer), named=identifier)


def _presented(backend: Backend, line: str, question: Question, expectations: Expectations) -> Iterable[Answer]:
    named, tokens = pasted.presented(line, backend.form)
    if named is not None:
        yield from map(_only_named, _named(backend, named, expectations))
    for token in tokens:
        yield from _judged(backend, token, question, expectations)


def _judged(backend: Backend, token: Secret, question: Question, expectations: Expectations) -> Iterable[Answer]:
    answer = usage_of(backend).use(token, expectations) if question.use else backend.introspect(token, expectations)
    yield Answer(introspection=answer, code=_code(answer))


def _only_named(answer: Answer) -> Answer:
    """Say in the checks that an id was read where a token may have been meant: a name proves nothing."""
    if answer.introspection is None:
        return answer
    check = Check(name="presented", ok=None, detail="an id was given, no token: nothing is proved")
    checks = [check, *answer.introspection.checks]
    return answer._replace(introspection=answer.introspection._replace(checks=checks))


def _code(answer: Introspection) -> int:
    if answer.active is None:
        return 11
    return 0 if answer.active else 3


def _foreign(context: Context, place: str, lines: Iterable[str], expectations: Expectations) -> Iterable[Answer]:
    from tokenctl.backends.verification import introspect_foreign
    from tokenctl.formats.jwk import MAX_KEY_SET, read_key_set

    if place.startswith(("https://", "http://")):
        from tokenctl.http import documents

        data = documents.fetch_public(place, limit=MAX_KEY_SET, deadline=context.surroundings.timeout)
    else:
        data = inputs.read_file(place, limit=MAX_KEY_SET)
    keys = read_key_set(data)
    for line in lines:
        bearer = pasted.bearer(line)
        answer = introspect_foreign((bearer or Secret(line)).reveal().decode("utf-8", "replace"), keys, expectations, context.now)
        yield Answer(introspection=answer, code=_code(answer))


def _print(context: Context, backend: Backend | None, answers: list[Answer]) -> int:
    from tokenctl.commands import inspect_screen

    inspect_screen.show(context, backend, answers)
    codes = [answer.code for answer in answers]
    if 10 in codes:
        return 10
    for failed in (TemporarilyUnavailable.exit_code, AccessDenied.exit_code):
        if failed in codes:
            return failed if set(codes) == {failed} else 11
    if 11 in codes and any(code != 11 for code in codes):
        return 11
    if 3 in codes:
        return 3
    return worst(codes)
