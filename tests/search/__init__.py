"""A clip becomes a ranking."""
