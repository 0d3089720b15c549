"""Validates, records and passes on what happens in the plant."""
