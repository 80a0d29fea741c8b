"""The system layer: atomic files, worker processes, unreadable files, progress reporting."""
