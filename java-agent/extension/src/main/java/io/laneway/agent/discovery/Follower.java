package io.laneway.agent.discovery;

import io.laneway.agent.statistics.Counters;
import java.io.IOException;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.logging.Level;

/**
 * Follows the control plane on a thread of its own: connects, applies, publishes, acknowledges, and connects again.
 * While it is away the last picture holds.
 */
public final class Follower {
    private static final String PATH = "/laneway.discovery.v1.Discovery/Stream";
    /** Between two attempts to connect: short after the first failure, doubling. */
    private static final int PAUSE_MILLIS_MIN = 100;
    private static final int PAUSE_MILLIS_MAX = 1_000;
    /** The hooks that stop an application: of Spring Boot, and of Spring alone. */
    private static final Set<String> APPLICATION_ENDS =
            new HashSet<>(Arrays.asList("SpringApplicationShutdownHook", "SpringContextShutdownHook"));
    /** Hooks are started one after the other, within a millisecond or so. */
    private static final int LOOKS = 5;
    private static final int LOOK_MILLIS = 10;
    /** As long as Spring's graceful end takes unless it is told otherwise. */
    private static final int APPLICATION_MILLIS = 30_000;
    /** How long an orderly end waits until the control plane has closed the stream. */
    private static final int GOODBYE_MILLIS = 500;
    /** Names one agent asks for: those that its application calls; beyond it something enumerates. */
    private static final int NAMES_MAX = 8_192;

    private final Identity identity;
    private final Counters counters;
    private final BiConsumer<Level, String> log;
    private final Picture picture;
    private final Set<String> wanted = new LinkedHashSet<>();
    private final Map<CompletableFuture<Void>, String> waiting = new LinkedHashMap<>();
    private volatile View view = View.NOTHING;
    private GrpcStream stream;
    private ScheduledExecutorService telling;
    private ScheduledFuture<?> told;
    private boolean away;
    private boolean stopping;

    /** {@code counters}: what its control plane is told has passed. {@code log} hears what an operator should know: that the control plane is there, or away and why. */
    public Follower(Identity identity, Counters counters, BiConsumer<Level, String> log) {
        this.counters = counters;
        this.identity = identity;
        picture = new Picture(identity.application);
        this.log = log;
    }

    /** Begins. */
    public void start() {
        Thread thread = new Thread(this::run, "laneway-discovery");
        thread.setDaemon(true);
        thread.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            waitForApplication();
            stop(thread);
        }, "laneway-goodbye"));
    }

    /** The latest picture. */
    public View view() {
        return view;
    }

    /**
     * Asks for what a name means, unless that is known. {@code null} where there is nothing to wait for: it is known, or
     * nobody answers; otherwise what completes when either becomes so.
     */
    public CompletableFuture<Void> ask(String serviceName) {
        String name = serviceName.toLowerCase(Locale.ROOT);
        if (view.knows(name)) {
            return null;
        }
        synchronized (this) {
            if (view.knows(name)) {
                return null;
            }
            boolean isNew = wanted.size() < NAMES_MAX && wanted.add(name);
            if (isNew && stream != null) {
                tell(Messages.subscribe(Collections.singleton(name)));
            }
            if (away || !wanted.contains(name)) {
                return null;
            }
            CompletableFuture<Void> answered = new CompletableFuture<>();
            waiting.put(answered, name);
            return answered;
        }
    }

    /** Nobody waits any more. */
    public synchronized void forget(CompletableFuture<Void> answered) {
        waiting.remove(answered);
    }

    private void run() {
        int pause = PAUSE_MILLIS_MIN;
        while (true) {
            Throwable end;
            try (GrpcStream opened = new GrpcStream(identity.control, PATH)) {
                begin(opened);
                while (true) {
                    take(opened, opened.receive());
                    pause = PAUSE_MILLIS_MIN;
                }
            } catch (Throwable error) {
                // An Error too, of the application's memory or of its log: without this thread nothing would be heard again.
                end = error;
            }
            try {
                if (lost(end)) {
                    return;
                }
                Thread.sleep(pause + ThreadLocalRandom.current().nextInt(pause));
            } catch (InterruptedException stopped) {
                return;
            } catch (Throwable unsaid) {
                // That it is away is noted already, and said only once.
            }
            pause = Math.min(2 * pause, PAUSE_MILLIS_MAX);
        }
    }

    private synchronized void begin(GrpcStream opened) throws IOException {
        picture.begin();
        opened.send(Messages.hello(identity, picture.held(), picture.epoch()));
        opened.send(Messages.subscribe(wanted));
        stream = opened;
    }

    /** Nothing is acknowledged before it is published. */
    private void take(GrpcStream opened, byte[] message) throws IOException {
        List<String> refused = picture.apply(message);
        View next = picture.view();
        boolean isBack;
        synchronized (this) {
            isBack = away || !view.isTold;
            view = next;
            away = false;
            release();
        }
        if (isBack) {
            log.accept(Level.INFO, "following the control plane at " + identity.control);
        }
        opened.send(Messages.ack(picture.epoch(), picture.number(), refused));
        tellTraffic(opened, picture.trafficEveryMillis());
    }

    /** Begins, once for each stream, where the control plane has said that it takes it. */
    private synchronized void tellTraffic(GrpcStream opened, long everyMillis) {
        if (everyMillis == 0 || told != null || stream != opened) {
            return;
        }
        if (telling == null) {
            telling = Executors.newSingleThreadScheduledExecutor(task -> {
                Thread thread = new Thread(task, "laneway-statistics");
                thread.setDaemon(true);
                return thread;
            });
        }
        Reports reports = new Reports(counters);
        long[] toldAt = {System.nanoTime()};
        told = telling.scheduleWithFixedDelay(() -> tellTraffic(opened, reports, toldAt), everyMillis, everyMillis, TimeUnit.MILLISECONDS);
    }

    /** Nothing is added to what the other side has no room for: the next time all of it is told. */
    private void tellTraffic(GrpcStream opened, Reports reports, long[] toldAt) {
        if (opened.isBehind()) {
            return;
        }
        try {
            long now = System.nanoTime();
            byte[] traffic = reports.traffic(TimeUnit.NANOSECONDS.toMillis(now - toldAt[0]));
            toldAt[0] = now;
            byte[] report = reports.report();
            if (traffic != null) {
                opened.send(traffic);
            }
            if (report != null) {
                opened.send(report);
            }
        } catch (IOException gone) {
            // The reading thread sees the end of the connection.
            opened.close();
        } catch (Throwable error) {
            // Nothing would be told again on a stream that has said it tells; a new one begins anew.
            opened.close();
            log.accept(Level.WARNING, "figures cannot be told (" + error + "); the control plane is connected to again");
        }
    }

    /** Lets go whoever has nothing to wait for any more. */
    private void release() {
        for (Iterator<Map.Entry<CompletableFuture<Void>, String>> all = waiting.entrySet().iterator(); all.hasNext();) {
            Map.Entry<CompletableFuture<Void>, String> one = all.next();
            if (away || view.knows(one.getValue())) {
                all.remove();
                one.getKey().complete(null);
            }
        }
    }

    private void tell(byte[] message) {
        try {
            stream.send(message);
        } catch (IOException gone) {
            // The reading thread sees the end of the connection, and says everything again.
            stream.close();
        }
    }

    /** Returns whether that was meant. */
    private boolean lost(Throwable error) {
        boolean isNews;
        synchronized (this) {
            stream = null;
            if (told != null) {
                told.cancel(false);
                told = null;
            }
            isNews = !away && !stopping;
            away = true;
            release();
        }
        if (isNews) {
            String why = error.getMessage() == null ? error.toString() : error.getMessage();
            log.accept(Level.WARNING, "the control plane at " + identity.control + " is away (" + why + "); "
                    + (view.isTold ? "the last picture holds" : "instances are chosen by their own tags"));
        }
        return stopping;
    }

    /**
     * While Spring stops, requests in hand are still served, and call others. All hooks run at once; that one is not in
     * sight before it has been started.
     */
    static void waitForApplication() {
        try {
            for (int look = 0; look < LOOKS; look++) {
                for (Thread thread : Thread.getAllStackTraces().keySet()) {
                    if (APPLICATION_ENDS.contains(thread.getName())) {
                        thread.join(APPLICATION_MILLIS);
                        return;
                    }
                }
                Thread.sleep(LOOK_MILLIS);
            }
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }

    private void stop(Thread thread) {
        synchronized (this) {
            stopping = true;
            if (stream == null) {
                return;
            }
            tell(Messages.goodbye());
        }
        try {
            thread.join(GOODBYE_MILLIS);
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }
}
