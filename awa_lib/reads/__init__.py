"""Read models: a frozen dataclass and the op that fills it."""
