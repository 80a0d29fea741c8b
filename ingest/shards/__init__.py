"""HDF5 files that hold every embedding: the truth."""
