-- A new value of an enum can be used only after the transaction that adds it.
ALTER TYPE job_state ADD VALUE 'waiting' BEFORE 'scheduled';
