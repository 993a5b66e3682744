package io.laneway.agent.statistics;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Where this application loses the lane, counted as sidecars count it: a call that belongs to no request has lost the lane
 * where all that is being served is in that lane, and may have where something else is served too.
 */
public final class LaneCalls {
    /** Lanes that are told apart; an application is in far fewer. */
    private static final int LANES_MAX = 256;
    private static final String OTHERS = "others";

    /** By group and tag. */
    private final Map<String, Map<String, Lane>> lanes = new ConcurrentHashMap<>();
    private final AtomicInteger known = new AtomicInteger();
    private final AtomicLong inside = new AtomicLong();
    private final AtomicLong outside = new AtomicLong();

    /** One lane's counts since the process started. */
    public static final class Lane {
        /** The group's name. */
        public final String group;
        /** The lane's tag. */
        public final String tag;
        private final AtomicLong inFlight = new AtomicLong();
        private final AtomicLong received = new AtomicLong();
        private final AtomicLong carried = new AtomicLong();
        private final AtomicLong lost = new AtomicLong();
        private final AtomicLong uncertain = new AtomicLong();

        private Lane(String group, String tag) {
            this.group = group;
            this.tag = tag;
        }

        /** Requests received in the lane; calls that carried it, that lost it, and that may have. */
        public long[] counted() {
            return new long[] {received.get(), carried.get(), lost.get(), uncertain.get()};
        }
    }

    /** A request reached the application. Empty for no lane. Returns what is told when it ends. */
    public Lane arrived(String group, String tag) {
        if (group.isEmpty()) {
            outside.incrementAndGet();
            return null;
        }
        Lane lane = lane(group, tag);
        inside.incrementAndGet();
        lane.inFlight.incrementAndGet();
        lane.received.incrementAndGet();
        return lane;
    }

    /** It has ended. */
    public void left(Lane lane) {
        if (lane == null) {
            outside.decrementAndGet();
        } else {
            inside.decrementAndGet();
            lane.inFlight.decrementAndGet();
        }
    }

    /** The application called a service in a lane. */
    public void carried(String group, String tag) {
        lane(group, tag).carried.incrementAndGet();
    }

    /** The application called a service for no request that is known. Returns the lane that is lost for certain, if one is. */
    public Lane leftOut() {
        if (inside.get() == 0) {
            return null;
        }
        List<Lane> concerned = new ArrayList<>(all());
        concerned.removeIf(lane -> lane.inFlight.get() == 0);
        if (concerned.size() == 1 && outside.get() == 0) {
            concerned.get(0).lost.incrementAndGet();
            return concerned.get(0);
        }
        concerned.forEach(lane -> lane.uncertain.incrementAndGet());
        return null;
    }

    /** Requests being served. */
    public long inFlight() {
        return Math.max(0, inside.get() + outside.get());
    }

    /** All lanes in which anything passed. */
    public List<Lane> all() {
        List<Lane> all = new ArrayList<>();
        lanes.values().forEach(tags -> all.addAll(tags.values()));
        return all;
    }

    private Lane lane(String group, String tag) {
        Map<String, Lane> tags = lanes.get(group);
        Lane lane = tags == null ? null : tags.get(tag);
        if (lane != null) {
            return lane;
        }
        boolean isRoom = known.get() < LANES_MAX;
        String named = isRoom ? group : OTHERS;
        return lanes.computeIfAbsent(named, unused -> new ConcurrentHashMap<>())
                .computeIfAbsent(isRoom ? tag : OTHERS, fresh -> {
                    known.incrementAndGet();
                    return new Lane(named, fresh);
                });
    }
}
