"""The one HTTP door of the system: jobs, events, live streams, system status, keys and limits."""
