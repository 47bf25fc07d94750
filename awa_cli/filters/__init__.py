"""Filters of jobs, as options, as text and as a query string; values that people type."""
