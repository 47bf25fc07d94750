"""The commands: one module or package per command of the first level, with its name."""
