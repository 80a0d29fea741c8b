"""Answers as pages: self-contained HTML files of queries, duplicates and explanations."""
