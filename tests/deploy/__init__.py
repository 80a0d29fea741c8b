"""Where vidsim runs at scale."""
