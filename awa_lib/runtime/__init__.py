"""The worker: async, one duty per file."""
