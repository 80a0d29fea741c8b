"""Where vidsim runs at scale: compose files, and what starts the services they describe."""
