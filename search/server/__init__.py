"""HTTP and the page: one warm `Library` behind an API, for browsers, programs and the commands."""
