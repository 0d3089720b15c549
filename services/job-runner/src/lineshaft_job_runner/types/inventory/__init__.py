"""Stock of two systems compared and brought together; only a job's own process imports it."""
