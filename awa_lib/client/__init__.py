"""The clients: the same verbs, blocking and async."""
