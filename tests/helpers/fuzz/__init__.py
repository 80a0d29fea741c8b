"""Inputs that are made to be wrong, for everything that reads what somebody else may have written.

``python -m vidsim.tests.helpers.fuzz TARGET [N] [SEED]`` feeds N inputs (1) from SEED (0) on to a
target (`targets.TARGETS`), or to ``all`` as many as each has a share of N. An input follows from
its seed alone: what is found at a seed comes again with ``... TARGET 1 SEED``.
"""
