"""Documents for people, drawn page by page; only a job's own process imports it."""
