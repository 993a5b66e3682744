"""application.py LABEL IP PORT NEXT PROXY: somebody's own HTTP application. It forwards W3C baggage, as an instrumented
one would, and knows nothing else of where it runs. NEXT is a URL, or `-` for none."""

import http.server
import sys
import urllib.request

label, ip, port, following, proxy = sys.argv[1:6]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": f"http://{proxy}"}))


class Application(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes out whole: in two pieces the second waits 40 ms for the first to be acknowledged.
    wbufsize = -1

    def do_GET(self):
        status, answer = 200, f"{label}[{ip}]"
        if following != "-":
            request = urllib.request.Request(following)
            for name in ("baggage", "traceparent"):
                if self.headers.get(name):
                    request.add_header(name, self.headers[name])
            try:
                answer += " -> " + opener.open(request, timeout=10).read().decode()
            except OSError as error:
                status, answer = 502, f"{answer} -> ERROR {error}"
        body = answer.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256


Server((ip, int(port)), Application).serve_forever()
