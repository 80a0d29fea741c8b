"""Run times."""
