"""What the event-router keeps in PostgreSQL; the only package here that talks SQL."""

from lineshaft_event_router.store.events import EventBook, Inbox, Quarantine

__all__ = ["EventBook", "Inbox", "Quarantine"]
