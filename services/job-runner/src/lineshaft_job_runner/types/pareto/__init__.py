"""Pareto analysis: the few categories that make up most of it."""
