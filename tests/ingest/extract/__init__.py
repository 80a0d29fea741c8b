"""Frames and samples become embeddings."""
