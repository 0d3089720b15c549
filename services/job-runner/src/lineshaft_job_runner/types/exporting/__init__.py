"""Data files for other programs; only a job's own process imports it."""
