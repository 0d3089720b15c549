"""Planning of orders on resources with OR-Tools; only a job's own process imports it."""
