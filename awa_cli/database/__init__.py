"""Which database a command works on, and the connection to it."""
