"""Network definitions: plain modules with a loader that reads weights as data."""
