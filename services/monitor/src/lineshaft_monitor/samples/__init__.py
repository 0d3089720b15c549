"""Samples in memory: their dictionary, and the latest of each series."""
