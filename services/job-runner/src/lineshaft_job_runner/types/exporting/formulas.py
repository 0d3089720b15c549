"""Text that a spreadsheet would calculate, and how it is kept from that (OWASP, CSV injection)."""

STARTS = ("=", "+", "-", "@", "\t", "\r")
PATTERN = r"^[=+\-@\t\r]"
"""The same as a regular expression."""


def disarmed(text: str) -> str:
    """Put ' before text that would be taken for a formula."""
    return f"'{text}" if text.startswith(STARTS) else text
