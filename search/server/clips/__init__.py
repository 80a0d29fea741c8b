"""What a request is about: stored videos, uploads, and what is asked of them."""
