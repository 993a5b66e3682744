package io.laneway.agent.entrance;

import io.laneway.agent.decision.LaneContext;
import io.laneway.agent.decision.Policy;
import io.laneway.agent.statistics.Counters;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.api.baggage.BaggageBuilder;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * What becomes of a request that arrives at this application: where it is an entrance, the lane of a request that has none
 * yet is decided here (semantics §2); and a request that no lane leads to this instance is noticed.
 */
public final class Entrance {
    private static final String PREFIX = "lane.";
    /** What OpenTelemetry writes of baggage, which it sorts by name: more, and lanes might be left out. */
    private static final int MEMBERS_MAX = 64;
    private static final int BYTES_MAX = 8_192;
    /** A byte of a value may be written as three; and there are a comma and an equals sign. */
    private static final int BYTES_OF_LETTER = 3;
    private static final int BYTES_BETWEEN = 2;
    /** Of what goes on arriving wrongly a line so often. */
    private static final long SAY_NANOS = TimeUnit.MINUTES.toNanos(1);
    private static volatile Entrance installed;

    private final Supplier<Policy> policy;
    private final String application;
    private final String tag;
    private final Counters counters;
    private final Consumer<String> log;
    private final AtomicLong saidAt = new AtomicLong(System.nanoTime() - SAY_NANOS);

    /** {@code tag}: this instance's own, empty for the base. */
    public Entrance(Supplier<Policy> policy, String application, String tag, Counters counters, Consumer<String> log) {
        this.counters = counters;
        this.policy = policy;
        this.application = application;
        this.tag = tag;
        this.log = log;
    }

    /** The process's; {@code null} where no control plane is named. */
    static Entrance installed() {
        return installed;
    }

    /** The agent has started. */
    public static void install(Entrance entrance) {
        installed = entrance;
    }

    /** The baggage with which a request goes on. */
    Baggage arrived(Baggage baggage, Received request) {
        Policy now = policy.get();
        Map<String, String> carried = carried(baggage);
        boolean isEdge = now.isEdge(application);
        LaneContext context = now.read(isEdge ? Collections.<String, String>emptyMap() : carried);
        boolean isRight = now.allows(context, application, tag);
        if (!now.isEntrance(application)) {
            note(isRight, carried, request);
            return baggage;
        }
        // An entrance may put a request into a lane whose instance it is not: it came rightly all the same.
        now.enter(application, request, Entrance::random, context).forEach(counters::entered);
        note(isRight || now.allows(context, application, tag), carried, request);
        return with(baggage, isEdge, carried, now.written(context));
    }

    /**
     * Without what a request brings of lanes where this is an edge, as far as that is known; for where nothing can be
     * decided.
     */
    Baggage undecided(Baggage baggage) {
        return policy.get().isEdge(application)
                ? with(baggage, true, Collections.<String, String>emptyMap(), Collections.<String, String>emptyMap())
                : baggage;
    }

    /**
     * One lane member of each group; what groups that are not known here have travels on, but at an edge. Others have what
     * room is left.
     */
    private static Baggage with(Baggage baggage, boolean isEdge, Map<String, String> carried, Map<String, String> written) {
        Map<String, String> lanes = new HashMap<>(isEdge ? Collections.<String, String>emptyMap() : carried);
        lanes.putAll(written);
        BaggageBuilder builder = Baggage.builder();
        int[] left = {MEMBERS_MAX, BYTES_MAX};
        lanes.forEach((group, value) -> {
            builder.put(PREFIX + group, value);
            left[0]--;
            left[1] -= bytes(PREFIX + group, value, "");
        });
        baggage.forEach((key, entry) -> {
            int bytes = bytes(key, entry.getValue(), entry.getMetadata().getValue());
            if (!key.startsWith(PREFIX) && left[0] > 0 && left[1] >= bytes) {
                builder.put(key, entry.getValue(), entry.getMetadata());
                left[0]--;
                left[1] -= bytes;
            }
        });
        return builder.build();
    }

    private static int bytes(String key, String value, String metadata) {
        return key.length() + metadata.length() + BYTES_OF_LETTER * value.length() + BYTES_BETWEEN;
    }

    /** The lane members of baggage: group to value. */
    static Map<String, String> carried(Baggage baggage) {
        Map<String, String> carried = new HashMap<>();
        baggage.forEach((key, entry) -> {
            if (key.startsWith(PREFIX)) {
                carried.put(key.substring(PREFIX.length()), entry.getValue());
            }
        });
        return carried;
    }

    /**
     * A lane of this instance's own tag may be newer here than at the caller, or older. And who sends neither lanes nor a
     * trace is nobody of the mesh: a probe, or whoever collects metrics.
     */
    private void note(boolean isRight, Map<String, String> carried, Received request) {
        boolean isOfMesh = !carried.isEmpty() || request.isTraced();
        if (isRight || !isOfMesh || policy.get().isEmpty() || !tag.isEmpty() && carried.containsValue(tag)) {
            return;
        }
        counters.misrouted();
        long said = saidAt.get();
        long now = System.nanoTime();
        if (now - said >= SAY_NANOS && saidAt.compareAndSet(said, now)) {
            log.accept("requests arrive that no lane leads to this instance (" + (tag.isEmpty() ? "base" : tag) + " of " + application
                    + "): " + counters.misroutedSoFar() + " so far, now " + request.shown() + " with the lanes " + carried
                    + "; whoever sent it chooses without lanes");
        }
    }

    private static byte[] random() {
        byte[] random = new byte[16];
        ThreadLocalRandom.current().nextBytes(random);
        return random;
    }
}
