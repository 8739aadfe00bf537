"""A server in front of another one, on loopback: it passes on what it is asked, as far as the test wants."""

import contextlib
import http.client
import http.server
import socket
import threading
import time


class Between(http.server.BaseHTTPRequestHandler):
    """A server in front of another, that has no answer to what is in `silent`, and sends one byte a second of what is in `trickling`."""

    protocol_version = "HTTP/1.1"
    port, silent, trickling = 0, "", ""
    passes_on = ("range", "accept")  # of what comes before the body; None: all, as what is signed needs

    def do_GET(self):
        if self.silent and self.silent in self.path:
            self.close_connection = True
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        passed = {key: value for key, value in self.headers.items() if not self.passes_on or key.lower() in self.passes_on}
        connection.request(self.command, self.path, self.asked, passed)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", answer.headers["Content-Length"] if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        connection.close()
        self.send_body(data)

    def send_body(self, data):
        if not self.trickling or self.trickling not in self.path:
            self.wfile.write(data)
            return
        self.close_connection = True
        with contextlib.suppress(OSError):
            for at in range(len(data)):
                self.wfile.write(data[at : at + 1])
                time.sleep(1)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *args):
        pass


class Silent(Between):
    """Does not answer to a POST, which is all that etcd is asked by, while it is silent."""

    silence = None

    def do_POST(self):
        if self.silence:
            self.silence.wait(60)
            self.close_connection = True
            return
        self.do_GET()


@contextlib.contextmanager
def serving(handler, is_narrow=False):
    """Gives the port on which the handler answers. Narrow: little of what is sent to it waits in the kernel."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if is_narrow:
            server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
