"""Presentation of data, shared by the commands, the monitor and the web pages."""
