"""Delivering the events of the log to whom subscribed."""
