"""Every message that crosses a service boundary, and the topology it crosses on."""
