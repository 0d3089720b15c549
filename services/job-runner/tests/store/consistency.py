"""What must never be found in the job tables, whoever did whatever at once."""

INCONSISTENT = {
    "in both tables": "SELECT id FROM jobs JOIN job_history USING (id)",
    "twice in the history": "SELECT id FROM job_history GROUP BY id HAVING count(*) > 1",
    "more than one turn of a key": """
        SELECT order_key FROM jobs WHERE order_key IS NOT NULL AND turn
        GROUP BY tenant, order_key HAVING count(*) > 1
    """,
    "running without its turn": "SELECT id FROM jobs WHERE state = 'running' AND NOT turn",
    "two of a key run": """
        SELECT order_key FROM jobs WHERE order_key IS NOT NULL AND state = 'running'
        GROUP BY tenant, order_key HAVING count(*) > 1
    """,
    "nobody has the turn": """
        SELECT order_key FROM jobs WHERE order_key IS NOT NULL
        GROUP BY tenant, order_key HAVING bool_or(state = 'queued') AND NOT bool_or(turn)
    """,
    "wrong number of blockers": """
        SELECT id FROM jobs
        WHERE blockers <> (SELECT count(*) FROM job_dependencies d WHERE d.job_id = jobs.id)
           OR (state = 'waiting') <> (blockers > 0)
    """,
    "waits for a job that has ended": """
        SELECT d.job_id FROM job_dependencies d LEFT JOIN jobs ON jobs.id = d.on_job_id
        WHERE jobs.id IS NULL OR NOT jobs.awaited
    """,
    "an ended job waits": """
        SELECT job_id FROM job_dependencies d
        WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.id = d.job_id)
    """,
    "an ended job keeps its unique key": """
        SELECT job_id FROM job_keys
        WHERE expires_at IS NULL AND NOT EXISTS (SELECT FROM jobs WHERE id = job_id)
    """,
    "a live job without its unique key": """
        SELECT id FROM jobs WHERE unique_key IS NOT NULL
        AND NOT EXISTS (SELECT FROM job_keys k WHERE k.job_id = jobs.id AND kind = 'unique')
    """,
}
