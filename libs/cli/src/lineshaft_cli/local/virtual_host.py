"""Virtual hosts of a broker, made and removed over RabbitMQ's management API."""

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from lineshaft_cli.local import definitions
from lineshaft_cli.local.errors import LocalError

CALL_SECONDS = 20.0
# What the API accepts for one virtual host; accounts belong to the whole broker.
_SECTIONS = ("parameters", "policies", "exchanges", "queues", "bindings")


class Management:
    """The management API of one broker, with the credentials of its URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._user = unquote(parts.username or "guest")
        credentials = f"{self._user}:{unquote(parts.password or 'guest')}"
        self._authorization = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        host = parts.netloc.rpartition("@")[2]
        self._api = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + "/api", "", ""))

    def create(self, name: str, topology: definitions.Document) -> None:
        """Make the virtual host, with full rights for our user, and declare the topology in it."""
        place = quote(name, safe="")
        self._call("PUT", f"/vhosts/{place}", {})
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self._call("PUT", f"/permissions/{place}/{quote(self._user, safe='')}", rights)
        document = {
            section: [
                {key: value for key, value in entry.items() if key != "vhost"}
                for entry in topology.get(section, ())
            ]
            for section in _SECTIONS
        }
        if any(document.values()):
            self._call("POST", f"/definitions/{place}", document)

    def delete(self, name: str) -> None:
        """Remove the virtual host with everything in it; connections to it are closed."""
        self._call("DELETE", f"/vhosts/{quote(name, safe='')}")

    def answers(self) -> bool:
        """Whether the broker is up and lets us in."""
        try:
            self._call("GET", "/overview")
        except LocalError:
            return False
        return True

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        request = urllib.request.Request(  # noqa: S310 - the scheme is the operator's
            self._api + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:  # noqa: S310
                answer.read()
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")[:500]
            error.close()
            message = f"RabbitMQ's management API refused {method} {path}: {error.code} {reason}"
            raise LocalError(message) from None
        except OSError as error:
            message = f"RabbitMQ's management API does not answer at {self._api}: {error}"
            raise LocalError(message) from error


def with_path(amqp_url: str, name: str) -> str:
    """Return the URL with another path: another virtual host, another database."""
    return urlunsplit(urlsplit(amqp_url)._replace(path=f"/{quote(name, safe='')}"))
