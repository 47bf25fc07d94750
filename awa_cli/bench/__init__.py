"""Measure how fast a database enqueues and completes jobs."""
