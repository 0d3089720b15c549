"""Serve assets near the user from a shared HTTP cache that is correct, compressed and measured."""
