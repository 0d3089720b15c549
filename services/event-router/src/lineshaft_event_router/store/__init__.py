"""What the event-router keeps in PostgreSQL; the only package here that talks SQL."""

from lineshaft_event_router.store.events import EventBook, Inbox, Quarantine
from lineshaft_event_router.store.plant_views import PlantViews

__all__ = ["EventBook", "Inbox", "PlantViews", "Quarantine"]
