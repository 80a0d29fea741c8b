"""A file becomes frames and samples, in worker processes with limits."""
