"""Pages about one thing, for people."""
