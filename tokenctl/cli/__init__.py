"""The grammar of the command line: declared with Typer here, acted on in ``commands``."""
