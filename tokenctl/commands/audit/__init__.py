"""``audit``: what happened, to whom, and whether the log can be believed."""
