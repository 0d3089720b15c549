"""Statistical process control on numpy arrays; only a job's own process imports it."""
