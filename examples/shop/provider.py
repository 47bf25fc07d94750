"""A mail provider for the examples: it accepts mails and counts them.

    python provider.py 8025

Stop it, and it is down.  ``GET /`` returns how many mails it has accepted.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

mails: list[dict[str, str]] = []


class Provider(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        mail = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "@" not in mail["to"]:
            self.answer(422, {"error": "not an address"})
            return
        mails.append(mail)
        self.answer(201, {"mails": len(mails)})

    def do_GET(self) -> None:
        self.answer(200, {"mails": len(mails)})

    def answer(self, status: int, body: dict[str, object]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default of 5 refuses a busy worker


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()
