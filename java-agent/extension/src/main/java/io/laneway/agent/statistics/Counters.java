package io.laneway.agent.statistics;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;

/** What this process counts for its control plane. A request costs a look-up and a few additions; telling is elsewhere. */
public final class Counters {
    /** Series that are told apart; what comes later is counted as of others. */
    static final int SERIES_MAX = 1_024;
    private static final String SEPARATOR = "/";

    private final Map<Labels, Durations> requests = new ConcurrentHashMap<>();
    private final Map<String, LongAdder> entered = new ConcurrentHashMap<>();
    private final LongAdder misrouted = new LongAdder();
    private final LaneCalls laneCalls = new LaneCalls();

    /** A request has been answered, or never will be, after so many nanoseconds. */
    public void request(Labels labels, long nanos) {
        Durations durations = requests.get(labels);
        if (durations == null) {
            Labels named = requests.size() < SERIES_MAX ? labels : labels.others();
            durations = requests.computeIfAbsent(named, unused -> new Durations());
        }
        durations.add(nanos);
    }

    /** This application, as an entrance, has let a request into a lane of a group; the empty tag is the base. */
    public void entered(String group, String tag) {
        entered.computeIfAbsent(group + SEPARATOR + tag, unused -> new LongAdder()).increment();
    }

    /** A request has arrived that no lane leads to this instance. */
    public void misrouted() {
        misrouted.increment();
    }

    /** Where lanes are lost. */
    public LaneCalls laneCalls() {
        return laneCalls;
    }

    /** By labels, since the process started. */
    public Map<Labels, Durations> requests() {
        return requests;
    }

    /** By {@code GROUP/TAG}. */
    public Map<String, LongAdder> entered() {
        return entered;
    }

    /** How many requests have arrived that are not this instance's. */
    public long misroutedSoFar() {
        return misrouted.sum();
    }
}
