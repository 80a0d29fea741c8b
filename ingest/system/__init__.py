"""The machine underneath: files written whole, worker processes, what cannot be read, progress."""
