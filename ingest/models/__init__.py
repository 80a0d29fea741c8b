"""Networks and their weights: which there are, where they come from, whether they are right."""
