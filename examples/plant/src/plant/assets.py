"""What the plant serves to browsers, and what the edge of Lineshaft fetches and keeps."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

CONTENT_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
CACHE_CONTROL: Mapping[str, str] = {
    ".html": "no-cache",
    ".pdf": "public, max-age=300, stale-while-revalidate=60",
    ".woff2": "public, max-age=86400",
}
"""Images say nothing on purpose: many origins do not, and the edge has to judge by itself."""
FINGERPRINTED = "public, max-age=31536000, immutable"


def asset_files() -> Mapping[str, Path]:
    """Return the files by their name; nothing else can be asked for."""
    folder = Path(str(files("plant").joinpath("assets")))
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}


def headers_of(name: str) -> dict[str, str]:
    """Return Content-Type and, where the plant states one, Cache-Control."""
    suffix = Path(name).suffix
    headers = {"Content-Type": CONTENT_TYPES.get(suffix, "application/octet-stream")}
    if is_fingerprinted(name):
        headers["Cache-Control"] = FINGERPRINTED
    elif suffix in CACHE_CONTROL:
        headers["Cache-Control"] = CACHE_CONTROL[suffix]
    return headers


def is_fingerprinted(name: str) -> bool:
    """Tell whether the name holds a digest of the content, as `app.1a2b3c4d.js` does."""
    return len(name.split(".")) == len(("app", "1a2b3c4d", "js"))
