"""A folder served as a host of static pages serves it: under a sub-path, text in gzip."""

import functools
import gzip
import mimetypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]
SITE = Path(os.environ.get("DEEPAUG_SITE") or ROOT / "_build/html")
UNDER = "/deepaug/"  # a project's pages lie below its name: a link to "/" would leave them
COMPRESSED = ("text/", "application/javascript", "application/json", "application/xml", "image/svg")


@functools.cache
def _packed(path: Path, modified: float) -> bytes:
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open

    def __init__(self, folder: Path, *args):
        self.folder = folder
        super().__init__(*args)

    def _file(self) -> Path | None:
        path = unquote(urlsplit(self.path).path)
        if not path.startswith(UNDER):
            return None
        found = (self.folder / path.removeprefix(UNDER)).resolve()
        if not found.is_relative_to(self.folder):
            return None
        found = found / "index.html" if path.endswith("/") else found
        return found if found.is_file() else None

    def _answer(self) -> None:
        path = self._file()
        kind = mimetypes.guess_type(path or "404.html")[0] or "application/octet-stream"
        body = b"<!doctype html><title>Not found</title>" if path is None else b""
        self.send_response(200 if path else 404)
        if path and kind.startswith(COMPRESSED) and "gzip" in self.headers["Accept-Encoding"]:
            body = _packed(path, path.stat().st_mtime)
            self.send_header("Content-Encoding", "gzip")
        elif path:
            body = path.read_bytes()
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if "text/" in kind else kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_GET = do_HEAD = _answer

    def log_message(self, *_):
        """Quiet: the checks tell what was missing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Quiet here too: a page that is closed hangs up in the middle of an answer."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The base URL, with a slash at its end, while the folder is served from a free port."""
    handler = functools.partial(_Handler, folder.resolve())
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}{UNDER}"
        server.shutdown()
