"""Frames and samples become embeddings, a batch at a time."""
