"""In and out: exports, imports, AudioSet."""
