"""How well it finds: protocols, measures, reports."""
