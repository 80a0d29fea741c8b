"""How well it finds."""
