"""Which events a subscription wants: dialects, CloudEvents SQL, payload patterns and an index."""
