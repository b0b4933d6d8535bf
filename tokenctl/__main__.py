"""``python -m tokenctl`` and the console script."""

import gc
import os
import sys


def main() -> None:
    """Start the program, without the working directory among the places that modules come from."""
    # Nothing that start-up makes is ever garbage; the collector comes on when the verb begins.
    gc.disable()
    if sys.path and sys.path[0] in ("", _working_directory()) and not sys.flags.safe_path:
        del sys.path[0]
    if sys.platform == "win32":
        sys.stderr.write("tokenctl: Windows is not supported: it lacks the locks and modes that a store relies on\n")
        sys.exit(9)
    from tokenctl.cli.boundary import main as run

    run()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # removed, or not to be entered


if __name__ == "__main__":
    main()
