"""The files that hold every embedding."""
