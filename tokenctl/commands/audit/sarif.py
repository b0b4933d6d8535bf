"""Findings as SARIF 2.1.0, for readers such as a code scanner's: written as they come.

A finding here has no file. Readers demand one all the same, so each location names the profile as a path, and the thing
itself as a logical location.

Source: OASIS SARIF 2.1.0, sections 3.11 (messages), 3.14 (run), 3.19 (driver), 3.20 (invocation), 3.27 (result), 3.49 (rule).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from tokenctl import __version__
from tokenctl.backends.local.reviewing import Finding
from tokenctl.commands.audit.review_screen import mend_of, told_of, write_object
from tokenctl.commands.context import Context
from tokenctl.model.review import RULES, Rule
from tokenctl.render.escape import escape

if TYPE_CHECKING:
    from tokenctl.commands.audit.review import Tally

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_INDEX = {rule.id: number for number, rule in enumerate(RULES)}


class Sarif:
    """One SARIF log with one run.

    Args:
        compared: Whether a baseline was given: what it does not know is new.
    """

    def __init__(self, context: Context, profile: str, *, compared: bool) -> None:
        self._console = context.console
        self._profile = profile
        self._compared = compared
        driver = {"name": "tokenctl", "version": __version__, "semanticVersion": __version__, "rules": [*map(_rule, RULES)]}
        head = {
            "tool": {"driver": driver}, "automationDetails": {"id": f"tokenctl/{profile}/"}, "columnKind": "unicodeCodePoints",
        }  # fmt: skip
        document = json.dumps({"$schema": _SCHEMA, "version": "2.1.0"})
        self._before = f'{document[:-1]}, "runs": [{json.dumps(head)[:-1]}, "results": ['

    def add(self, finding: Finding, mark: str) -> None:
        mend = mend_of(self._console, finding)
        members = _result(finding, mark, self._profile, mend)
        if self._compared:
            members["baselineState"] = "new"
        before = f'{self._before}{json.dumps(members)[:-1]}, "properties": '
        write_object(self._console, before, {"mend": mend}, finding, "}}")
        self._before = ", "

    def end(self, tally: Tally) -> None:
        told = [{"level": "warning", "message": {"text": message(text)}} for text in self._console.warnings]
        successful = tally.code in (0, 3)
        invocation = {
            "executionSuccessful": successful, "exitCode": tally.code, "toolExecutionNotifications": told,
        }  # fmt: skip
        begun = "" if self._before == ", " else self._before
        self._console.answer(f"{begun}], {json.dumps({'invocations': [invocation]})[1:]}]}}")


def message(text: str) -> str:
    """Return a plain text message: what would be a link (3.11.6) or a placeholder (3.11.5) stands for itself.

    A text from outside could otherwise put a link into somebody's scanner.
    """
    plain = escape(text)
    for mark, written in (("\\", "\\\\"), ("[", "\\["), ("]", "\\]"), ("{", "{{"), ("}", "}}")):
        plain = plain.replace(mark, written)
    return plain


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id, "shortDescription": {"text": f"{rule.what}."}, "fullDescription": {"text": f"{rule.what}. {rule.why}"},
        "help": {"text": rule.why}, "defaultConfiguration": {"level": rule.severity}, "properties": {"tags": ["security"]},
    }  # fmt: skip


def _result(finding: Finding, mark: str, profile: str, mend: str) -> dict[str, object]:
    uri = f"tokenctl/{quote(profile, safe='')}"
    name = escape(finding.id)
    return {
        "ruleId": finding.rule.id, "ruleIndex": _INDEX[finding.rule.id], "level": finding.rule.severity,
        "message": {"text": message(f"{told_of(finding)}. Mend: {mend}")},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}},
                "logicalLocations": [{"name": name, "fullyQualifiedName": f"{uri}/{name}", "kind": "resource"}],
            }
        ],
        # The first is the only one that GitHub goes by.
        "partialFingerprints": {"primaryLocationLineHash": mark, "tokenctlFinding/v1": mark},
    }  # fmt: skip
