"""The end of every verb's help: examples and exit codes, from one place."""

_MEANINGS = {
    0: "done", 2: "usage or malformed input; nothing was touched", 3: "the token is not accepted", 4: "no access to a secret",
    5: "not found", 6: "conflict", 7: "not now: safe to run again", 8: "the service broke its contract",
    9: "configuration", 10: "something does not check out", 11: "something was not looked at, or may still be accepted",
    12: "the policy forbids it", 126: "CMD cannot be executed", 127: "CMD was not found",
}  # fmt: skip


def epilog(examples: list[str], codes: list[int], meanings: dict[int, str] | None = None) -> str:
    """Return plain text: three examples and the exit codes of a verb, with its own meanings of them where it has some."""
    meant = _MEANINGS | (meanings or {})
    shown = "\n".join(f"  {example}" for example in examples)
    told = "\n".join(f"  {code:<3} {meant[code]}" for code in codes)
    return f"\b\nExamples:\n{shown}\n\n\b\nExit codes:\n{told}"
