"""Exports, imports, AudioSet."""
