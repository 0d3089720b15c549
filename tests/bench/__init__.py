"""Benchmarks, each run by itself and none part of the tests: `make bench`."""
