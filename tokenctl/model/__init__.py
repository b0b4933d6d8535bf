"""Values and rules of tokens; standard library only, no input or output."""
