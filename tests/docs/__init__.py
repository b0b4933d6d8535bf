"""What is made from the grammar and committed: completion scripts and manual pages.

``python -m tests.docs`` writes them anew; ``tests/test_docs.py`` fails where they drifted.
"""

from pathlib import Path

from tests.docs import grammar, manual, shells

ROOT = Path(__file__).parents[2]


def generate() -> dict[str, str]:
    """Return every generated file by its path in the repository."""
    root = grammar.read()
    scripts = {"tokenctl.bash": shells.bash(root), "_tokenctl": shells.zsh(root), "tokenctl.fish": shells.fish(root)}
    return {f"completions/{name}": text for name, text in scripts.items()} | {
        f"man/man{name[-1]}/{name}": text for name, text in manual.pages(root).items()
    }
