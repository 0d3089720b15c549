"""The monitor: knows how the whole system and the plant are doing, and says so at four levels."""
