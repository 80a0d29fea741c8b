"""Run-time tables: what vidsim does beside the ways it is compared with."""
