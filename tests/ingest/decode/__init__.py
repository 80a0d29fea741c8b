"""Files become frames and samples."""
