"""Callbacks outside the worker: signatures of requests, and CEL expressions."""
