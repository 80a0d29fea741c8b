"""From decoded segments to embeddings, one module a modality."""
