"""Verbs that take several steps, over any backend."""
