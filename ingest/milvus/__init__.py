"""Milvus, the index: one Store, embedded or a server."""
