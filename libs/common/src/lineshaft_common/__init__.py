"""What every service needs: settings, messaging, PostgreSQL, HTTP, telemetry, life cycle."""
