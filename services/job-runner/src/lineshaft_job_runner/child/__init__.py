"""The process in which one job after another runs, apart from the runner, so it can be killed."""
