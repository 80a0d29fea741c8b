"""The same footage twice: identical files and frames that match."""
