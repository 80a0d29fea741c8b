"""Run-time tables: vidsim beside what it replaced, in one run."""

import os

# scikit-learn, faiss and torch each bring their own OpenMP, whose idle threads would spin on the
# cores that the next one is measured on: up to ten times slower. They read this when they load.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
