"""Acceptance sampling by attributes: plans, what they do, and lots judged by them."""
