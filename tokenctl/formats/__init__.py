"""What a token looks like on the wire."""
