"""Ingests that clients ask for, one at a time."""
