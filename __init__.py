"""Video-similarity search by colour, frame content, sound and motion."""

__version__ = "0.1.0"
