package io.laneway.agent.decision;

/** How a request counts where it is served. */
public final class Hop {
    /** The group that governs; empty for none. */
    public final String group;
    /** The request's lane in it, by tag; empty for the base. */
    public final String lane;
    /** How it is served. */
    public final Choice.Outcome outcome;

    Hop(String group, String lane, Choice.Outcome outcome) {
        this.group = group;
        this.lane = lane;
        this.outcome = outcome;
    }
}
