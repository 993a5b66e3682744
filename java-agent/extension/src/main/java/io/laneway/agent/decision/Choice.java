package io.laneway.agent.decision;

import java.util.List;

/** Who may serve one hop, or why nobody may. */
public final class Choice {
    /** How the hop is served. */
    public enum Outcome { LANE, FALLBACK, BASE, REFUSED }

    /** How. */
    public final Outcome outcome;
    /** Who; empty where it is refused. */
    public final List<Endpoint> endpoints;
    /** Whose instances they are, all of this tag; empty for the base. */
    public final String tag;
    /** Why it is refused; otherwise empty. */
    public final String refusal;

    Choice(Outcome outcome, List<Endpoint> endpoints, String tag, String refusal) {
        this.outcome = outcome;
        this.endpoints = endpoints;
        this.tag = tag;
        this.refusal = refusal;
    }
}
