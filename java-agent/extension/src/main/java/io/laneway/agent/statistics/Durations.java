package io.laneway.agent.statistics;

import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.LongAdder;

/**
 * How long requests took, in the buckets of {@code crates/telemetry/src/sketch.rs}: below 2^16 ns, then four a doubling, the
 * last from 2^37 ns on.
 */
public final class Durations {
    static final int BUCKETS = 86;
    private static final int LOWEST_BITS = 16;
    private static final int HIGHEST_BITS = 37;
    private static final int NANOS_OF_MICRO = 1_000;

    private final AtomicIntegerArray buckets = new AtomicIntegerArray(BUCKETS);
    private final LongAdder nanos = new LongAdder();

    static int bucketOf(long nanos) {
        if (nanos >> LOWEST_BITS <= 0) {
            return 0;
        }
        int octave = Long.SIZE - 1 - Long.numberOfLeadingZeros(nanos);
        return octave >= HIGHEST_BITS ? BUCKETS - 1 : 1 + (octave - LOWEST_BITS) * 4 + (int) (nanos >> (octave - 2) & 3);
    }

    void add(long duration) {
        buckets.incrementAndGet(bucketOf(duration));
        nanos.add(Math.max(0, duration));
    }

    /** Requests by bucket, wrapping around: differences are what is told. */
    public int[] counted() {
        int[] counted = new int[BUCKETS];
        for (int at = 0; at < BUCKETS; at++) {
            counted[at] = buckets.get(at);
        }
        return counted;
    }

    /** The sum, in microseconds. */
    public long micros() {
        return nanos.sum() / NANOS_OF_MICRO;
    }
}
