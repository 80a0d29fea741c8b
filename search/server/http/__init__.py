"""Connections and requests, whatever they ask for: who may, how often, and refusals."""
