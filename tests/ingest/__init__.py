"""From a folder to shards and rows."""
