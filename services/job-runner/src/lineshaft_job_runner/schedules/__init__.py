"""Jobs that start by the clock: when they are due, what becomes of a fire, and who is told."""
