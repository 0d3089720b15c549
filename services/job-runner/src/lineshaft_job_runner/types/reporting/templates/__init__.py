"""The reports that come with the platform: one module each."""
