#!/usr/bin/env python3
"""Sends requests and prints which versions served them.

    samples/traffic.py ADDRESS [COUNT] [--path /a] [-H 'name: value'] [--mixed] [--connections 8]

ADDRESS is host:port or a URL. With --mixed every second request carries the headers given by -H (without any:
`canary: gray`), and the shares are printed apart. Standard library only.
"""

import argparse
import collections
import http.client
import re
import sys
import threading
import urllib.parse

TIMEOUT_SECONDS = 10


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="host:port or a URL")
    parser.add_argument("count", nargs="?", type=int, default=1000, help="how many requests (1000)")
    parser.add_argument("--path", help="what to ask for (/a)")
    parser.add_argument("-H", "--header", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument("--mixed", action="store_true", help="only every second request carries the headers")
    parser.add_argument("--connections", type=int, default=8, help="how many at once (8)")
    options = parser.parse_args()
    if options.count < 1 or options.connections < 1:
        parser.error("COUNT and --connections must be at least 1")
    if any(":" not in header for header in options.header):
        parser.error("a header is written NAME: VALUE")
    return options


def version(answer):
    """`Agray[127.0.0.21][config=base] -> B[127.0.0.12]` becomes `Agray -> B`."""
    return " -> ".join(re.sub(r"\[.*", "", hop) for hop in answer.split(" -> "))


def ask(connection, path, headers):
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode(errors="replace").strip()
    if response.status == 200:
        return version(body)
    return f"failed: {response.status} {body.splitlines()[0] if body else response.reason}"


def main():
    options = arguments()
    url = urllib.parse.urlsplit(options.address if "://" in options.address else f"http://{options.address}")
    path = options.path or url.path or "/a"
    headers = {}
    for header in options.header:
        name, value = header.split(":", 1)
        headers[name.strip()] = value.strip()
    if options.mixed and not headers:
        headers = {"canary": "gray"}

    numbers = iter(range(options.count))
    lock = threading.Lock()
    shares = {"all": collections.Counter(), "plain": collections.Counter(), "marked": collections.Counter()}

    def work():
        connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=TIMEOUT_SECONDS)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            marked = not options.mixed or number % 2 == 1
            try:
                result = ask(connection, path, headers if marked else {})
            except (OSError, http.client.HTTPException) as error:
                result = f"failed: {error or type(error).__name__}"
                connection.close()
            with lock:
                shares["all" if not options.mixed else "marked" if marked else "plain"][result] += 1

    threads = [threading.Thread(target=work) for _ in range(min(options.connections, options.count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for kind, counts in shares.items():
        total = sum(counts.values())
        if not total:
            continue
        said = ", ".join(f"{name}: {value}" for name, value in headers.items())
        told = {"all": f" with {said}" if said else "", "plain": " without headers", "marked": f" with {said}"}[kind]
        print(f"{total} requests for {path}{told}")
        for result, count in counts.most_common():
            print(f"  {count:6}  {100 * count / total:5.1f} %  {result}")
    return 1 if any(result.startswith("failed") for counts in shares.values() for result in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
