package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** A lane as an operator wrote it. Filled by whoever reads it, then left alone. */
public final class Lane {
    /** Unique in its group. */
    public String tag = "";
    /** A disabled lane is not tried, and who carries it is base. */
    public boolean enabled;
    /** Entrances may match it; a new lane is held back until data planes know it. */
    public boolean admitting;
    /**
     * Entrances put no request into it; who carries it keeps it. By ratio it is drawn all the same, and whoever falls to it is
     * base.
     */
    public boolean paused;
    /** Lower is tried first. */
    public int priority;
    /** Nobody but its own instances may serve it. */
    public boolean strict;
    /** Tags of lanes of the same group, tried in order before the base. */
    public final List<String> fallback = new ArrayList<>();
    /** Applications switched off in this lane. */
    public final Set<String> switchedOff = new HashSet<>();
    /** Entered by ratio, not by content. */
    public boolean byRatio;
    /** One condition is enough. */
    public boolean meetAny;
    /** Of an entry by content. */
    public final List<Condition> conditions = new ArrayList<>();
    /** Of an entry by ratio: hundredths of a percent. */
    public int percentHundredths;
    /** Of an entry by ratio: whose first value is the key; {@code null} for a key of each request's own. */
    public Parameter stickyBy;

    /** Whether entrances look at it. One that is paused keeps its place in the draw, so that nobody moves between the others. */
    boolean isTried() {
        return enabled && (paused ? byRatio : admitting);
    }

    boolean takes(Request request) {
        return meetAny
                ? conditions.stream().anyMatch(condition -> condition.holds(request))
                : conditions.stream().allMatch(condition -> condition.holds(request));
    }
}
