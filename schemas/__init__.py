"""What things are: modalities, backbones, videos, rows, collections, results, settings."""
