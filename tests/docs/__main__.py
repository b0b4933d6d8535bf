"""Write ``completions/`` and ``man/`` anew: ``python -m tests.docs``."""

from tests.docs import ROOT, generate


def main() -> None:
    """Write every generated file, and remove what is no longer made."""
    files = generate()
    for folder in ("completions", "man"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.relative_to(ROOT).as_posix() not in files:
                path.unlink()
    for name, text in files.items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
