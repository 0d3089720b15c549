"""What the event-router keeps in PostgreSQL; the only package here that talks SQL."""

from lineshaft_event_router.store.dead_letters import DeadLetterBox
from lineshaft_event_router.store.events import EventBook, Inbox, Quarantine
from lineshaft_event_router.store.held import HeldStore
from lineshaft_event_router.store.plant_views import PlantViews
from lineshaft_event_router.store.progress import DeliveryStore
from lineshaft_event_router.store.subscription_reports import SubscriptionReports
from lineshaft_event_router.store.subscriptions import SubscriptionBook

__all__ = [
    "DeadLetterBox",
    "DeliveryStore",
    "EventBook",
    "HeldStore",
    "Inbox",
    "PlantViews",
    "Quarantine",
    "SubscriptionBook",
    "SubscriptionReports",
]
