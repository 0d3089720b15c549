"""One operation on many items; only a job's own process imports it."""
