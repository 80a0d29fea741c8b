"""Milvus, embedded or a server."""
