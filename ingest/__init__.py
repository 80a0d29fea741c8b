"""A file becomes rows: discover, decode once, extract, write shards, index in Milvus."""
