"""Measure a database: how fast it takes, gives out and ends jobs."""
