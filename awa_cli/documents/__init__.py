"""The JSON documents of commands."""
