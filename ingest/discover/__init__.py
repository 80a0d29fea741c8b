"""Which files there are: a folder becomes a list of videos."""
