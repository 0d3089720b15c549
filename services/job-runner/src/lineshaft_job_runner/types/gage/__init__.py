"""Gage R&R: how much of what a measuring system shows is not the parts."""
