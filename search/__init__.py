"""A clip becomes a ranking: embed, neighbours per modality, videos, fusion, evidence."""
