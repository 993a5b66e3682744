"""An ordinary Flask application: answers with its name and address, and with what the next application answers.

    python flask_application.py NAME HOST PORT [NEXT_URL [FORWARDED_HEADER ...]]

`A[10.0.0.1]`, or with a next one `A[10.0.0.1] -> B[10.0.0.2]`. The headers named are passed on, nothing else.
"""

import sys

import requests
from flask import Flask, request

# Seconds to wait for the next application.
TIMEOUT = 10

name, host, port, *rest = sys.argv[1:]
next_url, forwarded = (rest[0], rest[1:]) if rest else (None, [])

application = Flask(__name__)


@application.get("/<path:path>")
def answer(path):
    own = f"{name}[{host}]"
    if next_url is None:
        return own, 200, {"content-type": "text/plain"}
    headers = {header: request.headers[header] for header in forwarded if header in request.headers}
    reply = requests.get(next_url, headers=headers, timeout=TIMEOUT)
    return f"{own} -> {reply.text}", reply.status_code, {"content-type": "text/plain"}


application.run(host, int(port), threaded=True)
