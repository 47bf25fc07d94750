"""How data is shown: shared by the command, the monitor and the web pages."""
