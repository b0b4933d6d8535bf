"""The benchmarks: ``python -m tests.bench [NAME…]``; without a name, all of them.

They assert nothing: the printed Markdown is the result. Measured is the program of the virtual environment that runs them.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module

TABLES = ("startup", "scale", "bulk", "bulk_revoke", "audit", "remote")
REPORTS = ("tab", "writers")


def main(names: list[str]) -> int:
    """Measure and print what is named."""
    unknown = set(names) - {*TABLES, *REPORTS}
    if unknown:
        sys.stderr.write(f"bench: one of {', '.join((*TABLES, *REPORTS))}\n")
        return 2
    from tests.bench.measure import table

    for name in [name for name in (*TABLES, *REPORTS) if not names or name in names]:
        module = import_module(f"tests.bench.{name}")
        text = module.report() if name in REPORTS else table(module.rows())
        sys.stdout.write(f"{name}\n\n{text}\n\n")
        sys.stdout.flush()
    sys.stdout.write(f"CPython {platform.python_version()}, {os.cpu_count()} cores, medians of whole processes.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
