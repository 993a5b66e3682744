package io.laneway.agent.entrance;

import io.laneway.agent.bridge.Awaited;
import io.laneway.agent.decision.Addresses;
import io.laneway.agent.decision.Hop;
import io.laneway.agent.decision.LaneContext;
import io.laneway.agent.discovery.View;
import io.laneway.agent.statistics.Counters;
import io.laneway.agent.statistics.Labels;
import io.laneway.agent.statistics.LaneCalls;
import io.laneway.agent.threads.Serving;
import io.laneway.agent.threads.Storage;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.ContextKey;
import io.opentelemetry.instrumentation.api.instrumenter.OperationListener;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * What passes this application, counted where OpenTelemetry's agent begins and ends its spans: what is served, and what is
 * called over HTTP at instances that the control plane knows. A call whose context knows no request that is being served has
 * lost it.
 */
public final class Counting {
    private static final AttributeKey<String> SERVER = AttributeKey.stringKey("server.address");
    private static final AttributeKey<Long> PORT = AttributeKey.longKey("server.port");
    private static final AttributeKey<Long> STATUS = AttributeKey.longKey("http.response.status_code");
    private static final AttributeKey<String> ERROR = AttributeKey.stringKey("error.type");
    /** What OpenTelemetry says of what has ended without an answer and without an error: who waited has left. */
    private static final String NO_ERROR = "_OTHER";
    private static final String CANCELLED = "CancellationException";
    private static final int CLASS_OF_SUCCESS = 2;
    private static final int CLASS_OF_WHO_LEAVES = 4;
    private static final int CLASS_OF_ERRORS = 5;
    private static final int HTTP_PORT = 80;
    /** Of lanes that go on being lost a line so often. */
    private static final long SAY_NANOS = TimeUnit.MINUTES.toNanos(1);
    private static final ContextKey<Served> SERVED = ContextKey.named("laneway-served");
    private static final ContextKey<Called> CALLED = ContextKey.named("laneway-called");
    private static volatile Counting installed;

    private final Supplier<View> view;
    private final String application;
    private final String tag;
    private final Counters counters;
    private final Consumer<String> log;
    private final AtomicBoolean hasFailed = new AtomicBoolean();
    private final AtomicLong saidAt = new AtomicLong(System.nanoTime() - SAY_NANOS);

    /** {@code tag}: this instance's own, empty for the base. */
    public Counting(Supplier<View> view, String application, String tag, Counters counters, Consumer<String> log) {
        this.view = view;
        this.application = application;
        this.tag = tag;
        this.counters = counters;
        this.log = log;
    }

    /** The agent has started. */
    public static void install(Counting counting) {
        installed = counting;
    }

    /** A request that is being served. */
    private static final class Served {
        final Hop hop;
        final LaneCalls.Lane lane;
        final long startedAt;
        /** Whether somebody counts its answer: what calls itself within one process is served once. */
        final AtomicBoolean isTaken;

        Served(Hop hop, LaneCalls.Lane lane, boolean isTaken, long startedAt) {
            this.hop = hop;
            this.lane = lane;
            this.isTaken = new AtomicBoolean(isTaken);
            this.startedAt = startedAt;
        }
    }

    /** A call that waits for its answer. */
    private static final class Called {
        final View.At at;
        final Hop hop;
        final long startedAt;

        Called(View.At at, Hop hop, long startedAt) {
            this.at = at;
            this.hop = hop;
            this.startedAt = startedAt;
        }
    }

    /** Of servers. {@code isCounted}: with their answers, which only HTTP says the class of. */
    static OperationListener servers(boolean isCounted) {
        return new OperationListener() {
            @Override
            public Context onStart(Context context, Attributes attributes, long startedAt) {
                Counting counting = installed;
                Context serving = Storage.isInherited() ? Serving.begin(context) : context;
                try {
                    return counting == null ? serving : counting.served(serving, isCounted, startedAt);
                } catch (Throwable error) {
                    // What is thrown here would take the context from the request, and its lane with it.
                    counting.failed(error);
                    return serving;
                }
            }

            @Override
            public void onEnd(Context context, Attributes attributes, long endedAt) {
                Serving.end(context, System.nanoTime());
                Counting counting = installed;
                Served served = context.get(SERVED);
                if (counting != null && served != null) {
                    try {
                        counting.answered(served, isCounted, attributes, endedAt);
                    } catch (Throwable error) {
                        counting.failed(error);
                    }
                }
            }
        };
    }

    /** Of clients of HTTP. */
    static OperationListener clients() {
        return new OperationListener() {
            @Override
            public Context onStart(Context context, Attributes attributes, long startedAt) {
                Counting counting = installed;
                try {
                    return counting == null ? context : counting.called(context, attributes, startedAt);
                } catch (Throwable error) {
                    // What is thrown here would take the context from the request, and its lane with it.
                    counting.failed(error);
                    return context;
                }
            }

            @Override
            public void onEnd(Context context, Attributes attributes, long endedAt) {
                Counting counting = installed;
                Called called = context.get(CALLED);
                if (counting != null && called != null) {
                    try {
                        counting.returned(called, attributes, endedAt);
                    } catch (Throwable error) {
                        counting.failed(error);
                    }
                }
            }
        };
    }

    /** What is refused is none of the application's requests. */
    Context served(Context context, boolean isCounted, long startedAt) {
        if (Entrance.refusal(context) != null) {
            return context;
        }
        View now = view.get();
        LaneContext lanes = now.policy.read(Entrance.carried(Baggage.fromContext(context)));
        String[] lane = now.policy.laneOf(lanes, application);
        LaneCalls.Lane arrived = counters.laneCalls().arrived(lane[0], lane[1]);
        return context.with(SERVED, new Served(now.policy.hop(lanes, application, tag), arrived, isCounted, startedAt));
    }

    private void answered(Served served, boolean isCounted, Attributes end, long endedAt) {
        counters.laneCalls().left(served.lane);
        if (isCounted) {
            int outcome = end.get(STATUS) == null ? Labels.FAILED : outcome(served.hop);
            counters.request(labels(Labels.INBOUND, application, "", served.hop, outcome, end), endedAt - served.startedAt);
        }
    }

    Context called(Context context, Attributes attributes, long startedAt) {
        String host = attributes.get(SERVER);
        Long port = attributes.get(PORT);
        Called called = host == null ? null : called(context, host, port == null ? HTTP_PORT : port.intValue(), startedAt);
        return called == null ? context : context.with(CALLED, called);
    }

    private Called called(Context context, String host, int port, long startedAt) {
        View now = view.get();
        String address = Addresses.canonical(host, port);
        View.At at = address == null ? null : now.at(address);
        if (at == null) {
            return null;
        }
        Map<String, String> carried = Entrance.carried(Baggage.fromContext(context));
        LaneContext lanes = now.policy.read(carried);
        String[] lane = now.policy.laneOf(lanes, at.service.application);
        if (!lane[0].isEmpty()) {
            counters.laneCalls().carried(lane[0], lane[1]);
        } else if (carried.isEmpty() && context.get(SERVED) == null) {
            lost(counters.laneCalls().leftOut(), at);
        }
        return new Called(at, now.policy.hop(lanes, at.service.application, at.endpoint.tag), startedAt);
    }

    /** A call of a protocol of whose answers OpenTelemetry's agent says nothing. */
    public static Awaited calling(String host, int port) {
        Counting counting = installed;
        Called called = counting == null ? null : counting.called(Context.current(), host, port, System.nanoTime());
        return called == null ? null : answer -> counting.count(Labels.OUTBOUND, called.at.service.application, called.at.service.name,
                called.hop, answer, called.startedAt);
    }

    /** The same of what is served, once OpenTelemetry's agent has begun it. */
    public static Awaited serving() {
        Counting counting = installed;
        Served served = counting == null ? null : Context.current().get(SERVED);
        return served == null || !served.isTaken.compareAndSet(false, true) ? null : answer -> counting.count(
                Labels.INBOUND, counting.application, "", served.hop, answer, served.startedAt);
    }

    private void count(int role, String callee, String service, Hop hop, Awaited.Answer answer, long startedAt) {
        boolean isNone = answer == Awaited.Answer.NONE;
        int codeClass = isNone ? 0 : answer == Awaited.Answer.WELL ? CLASS_OF_SUCCESS : CLASS_OF_ERRORS;
        Labels labels = new Labels(role, callee, service, hop.group, hop.lane, isNone ? Labels.FAILED : outcome(hop), codeClass);
        counters.request(labels, System.nanoTime() - startedAt);
    }

    private void returned(Called called, Attributes end, long endedAt) {
        int outcome = end.get(STATUS) == null ? Labels.FAILED : outcome(called.hop);
        counters.request(labels(Labels.OUTBOUND, called.at.service.application, called.at.service.name, called.hop, outcome, end),
                endedAt - called.startedAt);
    }

    private void lost(LaneCalls.Lane lane, View.At at) {
        long said = saidAt.get();
        long now = System.nanoTime();
        if (lane != null && now - said >= SAY_NANOS && saidAt.compareAndSet(said, now)) {
            log.accept("thread `" + Thread.currentThread().getName() + "` calls " + at.service.name
                    + " for no request that is known, while all that is served is in the lane " + lane.group + "/" + lane.tag
                    + ": the lane is lost there, and the call is base");
        }
    }

    private static Labels labels(int role, String application, String service, Hop hop, int outcome, Attributes end) {
        int codeClass = codeClass(end.get(STATUS), end.get(ERROR));
        return new Labels(role, application, service, hop.group, hop.lane, outcome, codeClass);
    }

    private static int codeClass(Long status, String error) {
        if (status == null) {
            boolean hasLeft = error == null || error.equals(NO_ERROR) || error.endsWith(CANCELLED);
            return hasLeft ? CLASS_OF_WHO_LEAVES : 0;
        }
        return status < 100 || status > 599 ? 0 : (int) (status / 100);
    }

    /** The request goes on uncounted. */
    private void failed(Throwable error) {
        if (hasFailed.compareAndSet(false, true)) {
            log.accept("counting: " + error + "; the request goes on, and is in no figure");
        }
    }

    private static int outcome(Hop hop) {
        switch (hop.outcome) {
            case LANE:
                return Labels.LANE;
            case FALLBACK:
                return Labels.FALLBACK;
            default:
                return Labels.BASE;
        }
    }
}
