"""Runs long work durably: what was accepted is run, once it counts, and its end is announced."""
