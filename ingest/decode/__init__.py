"""Decode files into frames and audio samples, in worker processes with limits."""
