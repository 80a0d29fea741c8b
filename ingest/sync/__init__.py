"""The index follows the truth: writing, repair, removal, moved files."""
