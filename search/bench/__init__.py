"""Run-time tables: vidsim beside what it replaced, in one run."""

import os

# Each of scikit-learn, faiss and torch brings an OpenMP of its own, whose idle threads would spin
# on the cores that the next one is measured on: ten times slower was seen. Read when they load.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
