package io.laneway.agent.entrance;

import io.laneway.agent.bridge.Refusal;
import io.laneway.agent.decision.LaneContext;
import io.laneway.agent.decision.Names;
import io.laneway.agent.decision.Policy;
import io.laneway.agent.statistics.Counters;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.api.baggage.BaggageBuilder;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.ContextKey;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
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
    /** Letters of lanes that are shown. */
    private static final int SHOWN_MAX = 200;
    private static final ContextKey<Refusal> REFUSED = ContextKey.named("laneway-refused");
    private static volatile Entrance installed;

    private final Supplier<Policy> policy;
    private final String application;
    private final String tag;
    private final boolean mayBeEdge;
    private final BooleanSupplier refuses;
    private final Counters counters;
    private final Consumer<String> log;
    private final AtomicLong saidAt = new AtomicLong(System.nanoTime() - SAY_NANOS);

    /**
     * {@code tag}: this instance's own, empty for the base. {@code mayBeEdge}: whether nobody is believed as long as no group is
     * known. {@code refuses}: whether what is not for this instance is kept from the application, or only counted.
     */
    public Entrance(Supplier<Policy> policy, String application, String tag, boolean mayBeEdge, BooleanSupplier refuses, Counters counters,
            Consumer<String> log) {
        this.mayBeEdge = mayBeEdge;
        this.refuses = refuses;
        this.counters = counters;
        this.policy = policy;
        this.application = application;
        this.tag = tag;
        this.log = log;
    }

    /** A context in which a request goes on as it has arrived. */
    static Context with(Context context, Arrival arrival) {
        Context goesOn = arrival.baggage == Baggage.fromContext(context) ? context : context.with(arrival.baggage);
        return arrival.refusal == null ? goesOn : goesOn.with(REFUSED, arrival.refusal);
    }

    /** The process's; {@code null} where no control plane is named. */
    static Entrance installed() {
        return installed;
    }

    /** The agent has started. */
    public static void install(Entrance entrance) {
        installed = entrance;
    }

    /** How a request goes on. */
    static final class Arrival {
        final Baggage baggage;
        /** What its caller is told instead; {@code null} where the application serves it. */
        final Refusal refusal;

        Arrival(Baggage baggage, Refusal refusal) {
            this.baggage = baggage;
            this.refusal = refusal;
        }
    }

    /** What is told of the request of this context instead of the application's answer; {@code null} where that serves it. */
    public static Refusal refusal(Context context) {
        return context.get(REFUSED);
    }

    /** A request arrives. */
    Arrival arrived(Baggage baggage, Received request) {
        Policy now = policy.get();
        Map<String, String> carried = carried(baggage);
        boolean isEdge = isEdge(now);
        LaneContext context = now.read(isEdge ? Collections.<String, String>emptyMap() : carried);
        boolean isRight = now.allows(context, application, tag);
        if (!now.isEntrance(application)) {
            Refusal refusal = refused(isRight, carried, request);
            return new Arrival(isEdge ? withoutLanes(baggage) : baggage, refusal);
        }
        // An entrance may put a request into a lane whose instance it is not: it came rightly all the same.
        now.enter(application, request, Entrance::random, context).forEach(counters::entered);
        Refusal refusal = refused(isRight || now.allows(context, application, tag), carried, request);
        return new Arrival(with(baggage, isEdge, carried, now.written(context)), refusal);
    }

    /** Of who may be one and has heard of no group yet, nobody knows that it is none. */
    private boolean isEdge(Policy now) {
        return now.isEdge(application) || mayBeEdge && now.isEmpty();
    }

    private static Baggage withoutLanes(Baggage baggage) {
        return with(baggage, true, Collections.<String, String>emptyMap(), Collections.<String, String>emptyMap());
    }

    /**
     * Without what a request brings of lanes where this is an edge, as far as that is known; for where nothing can be
     * decided.
     */
    Baggage undecided(Baggage baggage) {
        return isEdge(policy.get()) ? withoutLanes(baggage) : baggage;
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
     * trace is nobody of the mesh: a probe, or whoever collects metrics. Returns what is told of others.
     */
    private Refusal refused(boolean isRight, Map<String, String> carried, Received request) {
        boolean isOfMesh = !carried.isEmpty() || request.isTraced();
        if (isRight || !isOfMesh || policy.get().isEmpty() || !tag.isEmpty() && carried.containsValue(tag)) {
            return null;
        }
        counters.misrouted();
        String own = (tag.isEmpty() ? Names.BASE : tag) + " of " + application;
        long said = saidAt.get();
        long now = System.nanoTime();
        if (now - said >= SAY_NANOS && saidAt.compareAndSet(said, now)) {
            log.accept("requests arrive that no lane leads to this instance (" + own + "): " + counters.misroutedSoFar() + " so far, now "
                    + request.shown() + " with the lanes " + carried + "; whoever sent it chooses without lanes");
        }
        if (!refuses.getAsBoolean()) {
            return null;
        }
        String reason = "it is " + own + ", and the request is " + (carried.isEmpty() ? Names.BASE : shown(carried));
        return new Refusal(request.isOfProxy(), "laneway: this instance does not serve the request: " + reason);
    }

    /** Of what a stranger may have written only so much as is said of it elsewhere. */
    private static String shown(Map<String, String> carried) {
        String shown = new TreeMap<>(carried).toString();
        return shown.length() > SHOWN_MAX ? shown.substring(0, SHOWN_MAX) + "…" : shown;
    }

    private static byte[] random() {
        byte[] random = new byte[16];
        ThreadLocalRandom.current().nextBytes(random);
        return random;
    }
}
