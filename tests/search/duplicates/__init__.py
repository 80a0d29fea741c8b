"""The same footage twice."""
