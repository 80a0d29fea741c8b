"""On a CUDA device."""
