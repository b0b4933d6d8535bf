"""``audit log --token - --all-profiles``: what each token did, in the log of the profile that it belongs to."""

from __future__ import annotations

from tokenctl.commands import inputs
from tokenctl.commands.audit.log import Question, log
from tokenctl.commands.context import Context
from tokenctl.commands.everywhere import Place, every_profile
from tokenctl.errors import InvalidRequest, NotFound, Partial, worst
from tokenctl.formats import pasted

_LIMIT = 16 * 1024 * 1024  # bytes of one paste


def log_everywhere(context: Context, question: Question) -> int:
    """Print the records of each token that was presented; return 0, 5 where one is of no profile, 11 where one was not asked.

    Raises:
        InvalidRequest: no token is presented, or several profiles are to stand in one document (exit 2).
    """
    if question.token is None or question.follow:
        raise InvalidRequest("--all-profiles goes with --token -, and not with --follow")
    owners: dict[str, tuple[Place, dict[str, None]]] = {}
    unproved = 0
    with every_profile(context) as everywhere:
        for line in inputs.lines_of(0, what="standard input", limit=_LIMIT):
            found = pasted.recognise(line, everywhere.form)
            for secret in (*found.secrets, *found.words):
                place = everywhere.owner_of(secret)
                proved = place.backend.prove(secret) if place is not None else None
                if place is not None and proved is not None:
                    owners.setdefault(place.backend.name, (place, {}))[1][proved] = None
                else:
                    unproved += secret in found.secrets
        closed = bool(everywhere.closed)
    if not owners and not unproved:
        raise InvalidRequest("no token in standard input: an id alone proves nothing", reason="nothing_named")
    if len(owners) > 1 and context.console.output == "json":
        raise InvalidRequest("several profiles, and -o json is one document", hint="-o jsonl prints a record a line")
    codes = [Partial.exit_code] if closed else []
    for place, ids in owners.values():
        codes.append(log(place.context, question._replace(token=None, target=tuple(ids), all_profiles=False)))
    if unproved:
        told = "a token that was presented is" if unproved == 1 else f"{unproved} tokens that were presented are"
        context.console.error(NotFound(f"{told} unknown to every profile, or not with this secret", reason="unproved"))
        codes.append(NotFound.exit_code)
    return worst(codes)
