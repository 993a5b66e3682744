"""grpc_application.py LABEL IP PORT NEXT: somebody's own application of gRPC, of every kind of call. It forwards nothing and knows
nothing of where it runs; what goes with its calls is its instrumentation's doing. NEXT is a host and port, or `-` for none."""

import concurrent.futures
import sys
import threading

import grpc

# Seconds, longer than anything takes that is not broken.
PATIENCE = 30

label, ip, port, following = sys.argv[1:5]
own = f"{label}[{ip}]".encode()
channel = None if following == "-" else grpc.insecure_channel(following)


class Waits:
    """Calls that end with their caller alone."""

    lock = threading.Lock()
    now = 0
    ended = 0


def following_answer(call, context):
    """The answer of a call that ends with its caller. (Of streams the instrumentation hands out no call, answers alone.)"""
    context.add_callback(call.cancel)
    return call


def unary(request, context):
    if channel is None:
        return own
    call = channel.unary_unary("/lane.Chain/Unary").future(request, timeout=PATIENCE)
    return own + b" -> " + following_answer(call, context).result()


def down(request, context):
    if channel is None:
        yield from [own] * 3
        return
    for part in channel.unary_stream("/lane.Chain/Down")(request, timeout=PATIENCE):
        yield own + b" -> " + part


def up(requests, context):
    if channel is None:
        return own + b" %d" % sum(1 for _ in requests)
    call = channel.stream_unary("/lane.Chain/Up").future(requests, timeout=PATIENCE)
    return own + b" -> " + following_answer(call, context).result()


def both(requests, context):
    if channel is None:
        for _ in requests:
            yield own
        return
    for part in channel.stream_stream("/lane.Chain/Both")(requests, timeout=PATIENCE):
        yield own + b" -> " + part


def wait(request, context):
    if channel is None:
        over = threading.Event()
        with Waits.lock:
            Waits.now += 1
        context.add_callback(over.set)
        over.wait(PATIENCE)
        with Waits.lock:
            Waits.now -= 1
            Waits.ended += 1
        return own
    call = channel.unary_unary("/lane.Chain/Wait").future(request, timeout=PATIENCE)
    return following_answer(call, context).result()


def waits(request, context):
    if channel is None:
        return b"%d %d" % (Waits.now, Waits.ended)
    return channel.unary_unary("/lane.Chain/Waits")(request, timeout=PATIENCE)


methods = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Waits": grpc.unary_unary_rpc_method_handler(waits),
}
server = grpc.server(concurrent.futures.ThreadPoolExecutor(64))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("lane.Chain", methods)])
server.add_insecure_port(f"{ip}:{port}")
server.start()
server.wait_for_termination()
