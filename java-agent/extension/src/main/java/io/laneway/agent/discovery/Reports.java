package io.laneway.agent.discovery;

import io.laneway.agent.statistics.Counters;
import io.laneway.agent.statistics.Durations;
import io.laneway.agent.statistics.Labels;
import io.laneway.agent.statistics.LaneCalls;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/**
 * What has been counted, as one stream is told it: differences since it was told last. What was counted before the stream
 * began is nobody's, as with every data plane.
 */
final class Reports {
    private static final int REPORT = 4;
    private static final int TRAFFIC = 6;

    private final Counters counters;
    private final Map<Labels, Told> series = new HashMap<>();
    private final Map<String, Long> entered = new HashMap<>();
    private int numbered;
    private long misrouted;
    private boolean wasInFlight;
    private byte[] report = new byte[0];

    /** A series as the stream knows it. */
    private static final class Told {
        /** -1 until it has been told. */
        int number = -1;
        int[] buckets;
        long micros;
    }

    Reports(Counters counters) {
        this.counters = counters;
        counters.requests().forEach((labels, durations) -> {
            Told told = new Told();
            told.micros = durations.micros();
            told.buckets = durations.counted();
            series.put(labels, told);
        });
        counters.entered().forEach((lane, count) -> entered.put(lane, count.sum()));
        misrouted = counters.misroutedSoFar();
    }

    /** What happened since it was asked last; {@code null} for nothing. */
    byte[] traffic(long periodMillis) {
        ProtobufWriter traffic = new ProtobufWriter().number(1, periodMillis);
        boolean isAny = false;
        for (Map.Entry<Labels, Durations> one : counters.requests().entrySet()) {
            isAny |= sample(one.getKey(), one.getValue(), traffic);
        }
        for (Map.Entry<String, LongAdder> one : counters.entered().entrySet()) {
            long sum = one.getValue().sum();
            long more = sum - entered.getOrDefault(one.getKey(), 0L);
            if (more > 0) {
                entered.put(one.getKey(), sum);
                int slash = one.getKey().indexOf('/');
                traffic.message(4, new ProtobufWriter().text(1, one.getKey().substring(0, slash))
                        .text(2, one.getKey().substring(slash + 1)).number(3, more));
                isAny = true;
            }
        }
        long inFlight = counters.laneCalls().inFlight();
        long arrived = counters.misroutedSoFar();
        isAny |= inFlight > 0 || wasInFlight || arrived > misrouted;
        traffic.number(7, inFlight).number(8, arrived - misrouted);
        misrouted = arrived;
        wasInFlight = inFlight > 0;
        return isAny ? new ProtobufWriter().message(TRAFFIC, traffic).bytes() : null;
    }

    private boolean sample(Labels labels, Durations durations, ProtobufWriter traffic) {
        Told told = series.computeIfAbsent(labels, unused -> new Told());
        // The sum first: a request that is counted meanwhile is told whole the next time, or its duration is.
        long micros = durations.micros();
        int[] now = durations.counted();
        int[] before = told.buckets == null ? new int[now.length] : told.buckets;
        if (Arrays.equals(now, before)) {
            return false;
        }
        if (told.number < 0) {
            told.number = numbered++;
            traffic.message(2, new ProtobufWriter().number(1, labels.role).text(2, labels.application)
                    .text(3, labels.service).text(5, labels.group).text(6, labels.lane).number(7, labels.outcome)
                    .number(8, labels.codeClass));
        }
        int[] pairs = new int[2 * now.length];
        int length = 0;
        int last = 0;
        for (int bucket = 0; bucket < now.length; bucket++) {
            if (now[bucket] != before[bucket]) {
                pairs[length++] = bucket - last;
                pairs[length++] = now[bucket] - before[bucket];
                last = bucket;
            }
        }
        traffic.message(3, new ProtobufWriter().number(1, told.number).number(2, Math.max(0, micros - told.micros))
                .packed(3, Arrays.copyOf(pairs, length)));
        told.buckets = now;
        told.micros = micros;
        return true;
    }

    /** Where lanes are lost, since the process started; {@code null} where that is as it was told last. */
    byte[] report() {
        ProtobufWriter report = new ProtobufWriter();
        for (LaneCalls.Lane lane : counters.laneCalls().all()) {
            long[] counted = lane.counted();
            ProtobufWriter calls = new ProtobufWriter().text(1, lane.group).text(2, lane.tag);
            for (int at = 0; at < counted.length; at++) {
                calls.number(3 + at, counted[at]);
            }
            report.message(3, calls);
        }
        byte[] fresh = report.bytes();
        if (Arrays.equals(fresh, this.report)) {
            return null;
        }
        this.report = fresh;
        return new ProtobufWriter().message(REPORT, report).bytes();
    }
}
