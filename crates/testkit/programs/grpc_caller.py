"""grpc_caller.py ADDRESS [once|across]: calls the chain in every way there is, all of it on one connection, and prints a line for
each: the kind of call, its lane, and the answer; at last how calls ended that nobody answers. `once`: one call in each lane.
`across`: streams that are open before and after something that happens meanwhile; a line on standard input says that it has."""

import queue
import sys
import time

import grpc

# Seconds, longer than anything takes that is not broken.
PATIENCE = 30
# Calls of each kind in each lane, all of them under way at once.
COUNT = 8

channel = grpc.insecure_channel(sys.argv[1])
lanes = {
    "base": [],
    "gray": [("canary", "gray")],
    "blue": [("canary", "blue")],
    "forged": [("baggage", "lane.trade=gray")],
}


def method(kind, name):
    return getattr(channel, kind)(f"/lane.Chain/{name}")


def told(kind, lane, answer):
    print(kind, lane, answer.decode(), sep="\t")


def one_of_each(kind):
    for lane, metadata in lanes.items():
        told(kind, lane, method("unary_unary", "Unary")(b"", metadata=metadata, timeout=PATIENCE))


if sys.argv[2:] == ["once"]:
    one_of_each("unary")
    sys.exit()

if sys.argv[2:] == ["across"]:
    streams = []
    for lane, metadata in lanes.items():
        parts = queue.SimpleQueue()
        answers = method("stream_stream", "Both")(iter(parts.get, None), metadata=metadata, timeout=PATIENCE)
        streams.append((lane, parts, answers))
    for lane, parts, answers in streams:
        parts.put(b"x")
        told("before", lane, next(answers))
    sys.stdout.flush()
    sys.stdin.readline()
    one_of_each("new")
    for lane, parts, answers in streams:
        parts.put(b"x")
        parts.put(None)
        for part in answers:
            told("after", lane, part)
    sys.exit()

unary = [
    (lane, method("unary_unary", "Unary").future(b"", metadata=metadata, timeout=PATIENCE))
    for _ in range(COUNT)
    for lane, metadata in lanes.items()
]
down = [
    (lane, method("unary_stream", "Down")(b"", metadata=metadata, timeout=PATIENCE))
    for _ in range(COUNT)
    for lane, metadata in lanes.items()
]
up = [
    (lane, method("stream_unary", "Up").future(iter([b"x"] * 3), metadata=metadata, timeout=PATIENCE))
    for _ in range(COUNT)
    for lane, metadata in lanes.items()
]
both = [
    (lane, method("stream_stream", "Both")(iter([b"x"] * 3), metadata=metadata, timeout=PATIENCE))
    for _ in range(COUNT)
    for lane, metadata in lanes.items()
]
for lane, call in unary:
    told("unary", lane, call.result())
for lane, call in down:
    for part in call:
        told("down", lane, part)
for lane, call in up:
    told("up", lane, call.result())
for lane, call in both:
    for part in call:
        told("both", lane, part)


def waits():
    """How many calls wait at the end of the chain, and how many have waited."""
    now, ended = method("unary_unary", "Waits")(b"", timeout=PATIENCE).split()
    return int(now), int(ended)


def until(expected):
    over = time.monotonic() + PATIENCE
    while (seen := waits()) != expected:
        if time.monotonic() > over:
            sys.exit(f"waits are {seen}, not {expected}")
        time.sleep(0.05)


try:
    # Long enough for it to be everywhere before.
    method("unary_unary", "Wait")(b"", timeout=5)
except grpc.RpcError as error:
    told("late", "base", error.code().name.encode())
until((0, 1))
call = method("unary_unary", "Wait").future(b"", timeout=PATIENCE)
until((1, 1))
call.cancel()
until((0, 2))
told("cancelled", "base", b"everywhere")
try:
    method("unary_unary", "Unary")(b"", metadata=[("canary", "gray")], timeout=1e-9)
except grpc.RpcError as error:
    told("late", "gray", error.code().name.encode())
try:
    channel.unary_unary("/lane.Other/Unary")(b"", timeout=PATIENCE)
except grpc.RpcError as error:
    told("unknown", "base", error.code().name.encode())
