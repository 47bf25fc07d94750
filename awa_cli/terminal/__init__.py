"""Printing and asking at a terminal."""
