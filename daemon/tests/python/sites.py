"""A small internet on loopback: https and http, one directory per host name, everything static.

Usage: sites.py ROOT CERT KEY; prints the https port and the http port, then serves until its input ends. Requests are
written to ROOT/log as "SCHEME HOST PATH". As a model it fetches what it is asked for and answers with what it got. /redirect leads to the address of cloud metadata, /length?N answers N bytes,
/length?N,R so at most R bytes a second.
"""

import http.server
import json
import os
import ssl
import sys
import threading
import time

ROOT, CERT, KEY = sys.argv[1:4]
LOG = open(os.path.join(ROOT, "log"), "a", buffering=1)


class Site(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scheme = "http"

    def host(self):
        return self.headers.get("Host", "none").split(":")[0].rstrip(".").lower()

    def translate_path(self, path):
        self.directory = os.path.join(ROOT, "hosts", self.host())
        return super().translate_path(path)

    def do_GET(self):
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/length?"):
            left, _, rate = self.path.split("?")[1].partition(",")
            left, rate = int(left), int(rate or 0)
            self.send_response(200)
            self.send_header("Content-Length", str(left))
            self.end_headers()
            piece = b"x" * (1 << 20)
            due = time.monotonic()
            while left > 0:
                self.wfile.write(piece[: min(left, len(piece))])
                left -= len(piece)
                if rate:
                    due += len(piece) / rate
                    time.sleep(max(0, due - time.monotonic()))
        else:
            super().do_GET()

    def model(self, request):
        said = request["messages"]
        last = max(at for at, one in enumerate(said) if one["role"] == "user")
        asked, said = said[last]["content"], said[last:]
        results = [one["content"] for one in said if one["role"] == "tool"]
        if results:
            deltas, end = [{"content": results[-1]}], "stop"
        else:
            texts = [asked] if isinstance(asked, str) else [one.get("text", "") for one in asked]
            # The daemon puts more beside the words of a person.
            words = " ".join(texts).split()
            url = [word for word in words if word.startswith(("http:", "https:", "ftp:", "file:"))] or words
            call = {"name": "fetch", "arguments": json.dumps({"url": url[-1]})}
            deltas, end = [{"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": call}]}], "tool_calls"
        chunks = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        chunks.append({"index": 0, "delta": {}, "finish_reason": end})
        base = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        lines = [f"data: {json.dumps({**base, 'choices': [chunk]})}\n\n" for chunk in chunks]
        return ("".join(lines) + "data: [DONE]\n\n").encode()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path.startswith("/v1/chat/completions"):
            body = self.model(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        LOG.write(f"{self.scheme} {self.host() if hasattr(self, 'headers') else '-'} {self.path if hasattr(self, 'path') else '-'}\n")


class Secure(Site):
    scheme = "https"


def serve(kind, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
print(serve(Secure, context), serve(Site), flush=True)
sys.stdin.read()
