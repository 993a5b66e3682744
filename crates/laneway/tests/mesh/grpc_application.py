"""grpc_application.py LABEL IP PORT NEXT PROXY: somebody's own gRPC application, of every kind of call. It forwards W3C
baggage, as an instrumented one would, and knows nothing else of where it runs. NEXT is a host and port, or `-` for none."""

import concurrent.futures
import sys
import threading

import grpc

# Seconds, longer than anything takes that is not broken.
PATIENCE = 30
FORWARDED = ("baggage", "traceparent")

label, ip, port, following, proxy = sys.argv[1:6]
own = f"{label}[{ip}]".encode()
channel = None
if following != "-":
    channel = grpc.insecure_channel(following, options=[("grpc.http_proxy", f"http://{proxy}")])


class Waits:
    """Calls that end with their caller alone."""

    lock = threading.Lock()
    now = 0
    ended = 0


def along(context):
    """What goes on with a call: metadata, and that it ends with its caller."""
    forwarded = [(name, value) for name, value in context.invocation_metadata() if name in FORWARDED]
    return {"metadata": forwarded, "timeout": PATIENCE}


def following_answer(call, context):
    context.add_callback(call.cancel)
    return call


def unary(request, context):
    if channel is None:
        return own
    call = channel.unary_unary("/lane.Chain/Unary").future(request, **along(context))
    return own + b" -> " + following_answer(call, context).result()


def down(request, context):
    if channel is None:
        yield from [own] * 3
        return
    call = channel.unary_stream("/lane.Chain/Down")(request, **along(context))
    for part in following_answer(call, context):
        yield own + b" -> " + part


def up(requests, context):
    if channel is None:
        return own + b" %d" % sum(1 for _ in requests)
    call = channel.stream_unary("/lane.Chain/Up").future(requests, **along(context))
    return own + b" -> " + following_answer(call, context).result()


def both(requests, context):
    if channel is None:
        for _ in requests:
            yield own
        return
    call = channel.stream_stream("/lane.Chain/Both")(requests, **along(context))
    for part in following_answer(call, context):
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
    call = channel.unary_unary("/lane.Chain/Wait").future(request, **along(context))
    return following_answer(call, context).result()


def waits(request, context):
    if channel is None:
        return b"%d %d" % (Waits.now, Waits.ended)
    return channel.unary_unary("/lane.Chain/Waits")(request, **along(context))


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
