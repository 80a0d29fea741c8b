"""The GPU kit: gathers what a machine lacks, and measures vidsim there step by step."""
