"""Says what Python's http.client makes of answers: listens on a Unix socket (the one argument) for lines
`SOCKET METHOD METHOD ...`, asks there on one connection, and answers each line with one of what it has read (see answers.rs).
"""

import http.client
import socket
import sys

# As many fields as a gateway sends on, and more.
http.client._MAXHEADERS = 1024


def ask(connection, method):
    try:
        connection.request(method, "/")
        answer = connection.getresponse()
        body = answer.read()
    except (http.client.HTTPException, OSError, OverflowError, MemoryError):
        return "-"
    parts = [str(answer.status), body.hex()]
    for name, value in answer.msg.raw_items():
        parts.append(":".join(text.encode("latin-1").hex() for text in (name.lower(), value)))
    return ".".join(parts)


def ask_all(place, methods):
    connection = http.client.HTTPConnection("shop")
    # It is not to make another.
    connection.auto_open = 0
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(place)
    read = []
    for method in methods:
        read.append(ask(connection, method))
        if read[-1] == "-":
            break
    connection.close()
    return " ".join(read)


listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
stream, _ = listener.accept()
for line in stream.makefile("r"):
    place, *methods = line.split()
    stream.sendall(f"{ask_all(place, methods)}\n".encode())
