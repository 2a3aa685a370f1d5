"""A server on this machine that stands for the internet, and an entry of the catalogue of weights
for what it holds.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    """Yield a server that answers by ``handler`` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def entry_of(content: bytes, address: str) -> dict[str, Any]:
    """Return the catalogue's entry of weights with this ``content``, which lie at ``address``."""
    return {
        "title": "A network",
        "purpose": "a test",
        "file": "net.pth",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "urls": [address],
        "licence": "MIT",
        "citation": "Nobody, Nowhere, 2000",
    }
