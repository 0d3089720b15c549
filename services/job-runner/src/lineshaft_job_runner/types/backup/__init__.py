"""Backups that are proven by restoring them: dump, store, verify, thin out, restore."""
