"""Reaching the database: how connections are opened, and what its errors mean."""
