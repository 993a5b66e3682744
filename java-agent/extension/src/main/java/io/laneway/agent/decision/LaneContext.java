package io.laneway.agent.decision;

import java.util.Map;
import java.util.TreeMap;

/** Which lane of which group a request belongs to, by group name; groups without an entry are base, not decided. */
public final class LaneContext {
    /** What stands for the base, decided, where a lane would stand. */
    static final Lane BASE = new Lane();

    private final TreeMap<String, Lane> members = new TreeMap<>();
    private int unknownTags;

    LaneContext() {}

    /** Members whose group is known and whose tag is not: they are base. */
    public int unknownTags() {
        return unknownTags;
    }

    Map<String, Lane> members() {
        return members;
    }

    void add(String group, Lane lane) {
        members.put(group, lane == null ? BASE : lane);
    }

    void addUnknown(String group) {
        add(group, BASE);
        unknownTags++;
    }
}
