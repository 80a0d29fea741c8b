"""Milvus follows the shards."""
