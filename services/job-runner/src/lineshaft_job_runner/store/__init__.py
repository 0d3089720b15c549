"""Everything that the job-runner reads from and writes to PostgreSQL."""
