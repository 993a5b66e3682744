package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A lane group: its applications, and its lanes in the order in which they are tried. */
public final class Group {
    final String name;
    final Set<String> applications;
    /** Applications that let requests in. */
    final Set<String> entrances;
    /** Those of them that believe nobody. */
    final Set<String> edges;
    private final List<Lane> lanes;
    private final Map<String, Lane> byTag = new HashMap<>();

    /** Lanes come in creation order. {@code edges}: those of the entrances that believe nobody. */
    public Group(String name, Collection<String> entrances, Collection<String> edges, Collection<String> applications,
            List<Lane> created) {
        this.name = name;
        this.entrances = new HashSet<>(entrances);
        this.edges = new HashSet<>(edges);
        this.applications = new HashSet<>(applications);
        lanes = new ArrayList<>(created);
        // Stable: of equal priorities the one created first is tried first.
        lanes.sort(Comparator.comparingInt(lane -> lane.priority));
        for (Lane lane : lanes) {
            byTag.put(lane.tag, lane);
        }
    }

    Lane lane(String tag) {
        return byTag.get(tag);
    }

    /** Whether base is written on the wire, so that no entrance decides a second time. */
    boolean hasApplicationEntrance() {
        return !entrances.isEmpty();
    }

    /** The lane that takes a request at an entrance; {@code null} for the base. */
    Lane enter(Request request, byte[] random) {
        long left = 10_000;
        for (Lane lane : lanes) {
            if (!lane.isTried()) {
                continue;
            }
            if (lane.byRatio ? point(lane, request, random, left) < lane.percentHundredths : lane.takes(request)) {
                return lane.paused ? null : lane;
            }
            left -= lane.byRatio ? lane.percentHundredths : 0;
        }
        return null;
    }

    /** Where a request's key falls in {@code 0..left} (semantics §5). */
    private long point(Lane lane, Request request, byte[] random, long left) {
        List<String> values = lane.stickyBy == null ? new ArrayList<String>() : lane.stickyBy.values(request);
        String key = values.isEmpty() || values.get(0).isEmpty()
                ? new String(random, java.nio.charset.StandardCharsets.ISO_8859_1)
                : values.get(0);
        long hash = XxHash64.hash(Bytes.raw(name + '\0' + lane.tag + '\0' + key));
        return (hash >>> 32) * left >>> 32;
    }
}
