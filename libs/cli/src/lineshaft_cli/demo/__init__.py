"""The demonstration: a plant's shift through the whole system, checked at every step."""
