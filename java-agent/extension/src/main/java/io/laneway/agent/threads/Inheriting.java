package io.laneway.agent.threads;

import io.laneway.agent.bridge.ThreadWatcher;
import io.laneway.agent.bridge.Threads;
import io.opentelemetry.context.Context;
import java.lang.ref.WeakReference;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.LongSupplier;

/**
 * The context of a thread that an application has started itself while it served a request: that request's. OpenTelemetry's
 * agent carries contexts to the tasks of executors, and to no raw thread.
 *
 * <p>A thread may live longer than the request, and serve others: it must not take them for the first one's. So nothing is
 * put into the thread. Where it has no context of its own it is asked for here each time, and has none once it has looked for
 * work in a queue, or once its request is over for a minute; and who is a worker from the start never has one.
 */
public final class Inheriting implements ThreadWatcher {
    /** As long as sidecars remember the lane of a trace (semantics, context on the wire). */
    static final long AFTER_REQUEST_NANOS = TimeUnit.SECONDS.toNanos(60);
    /** Threads at once, each with a context: a machine has room for about as many. */
    static final int THREADS_MAX = 4_096;
    /** Those that have ended are looked for when so many more are there than were left the last time. */
    private static final int SWEEP_EVERY = 64;

    private final LongSupplier clock;
    private final Consumer<String> log;
    private final Map<Long, Inherited> threads = new ConcurrentHashMap<>();
    private final AtomicBoolean isFullSaid = new AtomicBoolean();
    private volatile int sweepAt = SWEEP_EVERY;

    /** {@code clock}: nanoseconds, as {@link System#nanoTime}. */
    Inheriting(LongSupplier clock, Consumer<String> log) {
        this.clock = clock;
        this.log = log;
    }

    /** What a thread has from who started it. */
    private static final class Inherited {
        final WeakReference<Thread> thread;
        final Context context;
        final long startedAt;

        Inherited(Thread thread, Context context, long startedAt) {
            this.thread = new WeakReference<>(thread);
            this.context = context;
            this.startedAt = startedAt;
        }

        boolean isOver(long now) {
            Thread known = thread.get();
            return known == null || known.getState() == Thread.State.TERMINATED
                    || Serving.overFor(context, startedAt, now) > AFTER_REQUEST_NANOS;
        }
    }

    /** From here on threads inherit. */
    public static void install(Consumer<String> log) {
        Inheriting inheriting = new Inheriting(System::nanoTime, log);
        Storage.install(inheriting::inherited);
        Threads.install(inheriting);
    }

    /** The current thread's; {@code null} for none. */
    Context inherited() {
        if (threads.isEmpty()) {
            return null;
        }
        Long id = Thread.currentThread().getId();
        Inherited inherited = threads.get(id);
        if (inherited == null) {
            return null;
        }
        if (inherited.isOver(clock.getAsLong())) {
            threads.remove(id);
            return null;
        }
        return inherited.context;
    }

    @Override
    public void starting(Thread thread) {
        Context context = Context.current();
        if (context != Context.root() && !Callers.startsWorkers()) {
            inherit(thread, context);
        }
    }

    void inherit(Thread thread, Context context) {
        long now = clock.getAsLong();
        if (threads.size() >= Math.min(sweepAt, THREADS_MAX)) {
            threads.values().removeIf(it -> it.isOver(now));
            sweepAt = threads.size() + SWEEP_EVERY;
        }
        if (threads.size() < THREADS_MAX) {
            threads.put(thread.getId(), new Inherited(thread, context, now));
        } else if (isFullSaid.compareAndSet(false, true)) {
            log.accept("more than " + THREADS_MAX + " threads that requests have started are there at once: further ones have no context, "
                    + "and what they call is base");
        }
    }

    @Override
    public void waiting() {
        // Of all threads that wait at a queue hardly one is such.
        if (!threads.isEmpty()) {
            Long id = Thread.currentThread().getId();
            if (threads.containsKey(id) && !Callers.waitForAnswer()) {
                threads.remove(id);
            }
        }
    }
}
