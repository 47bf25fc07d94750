"""Filters of jobs: from text, from options and from a query string."""
