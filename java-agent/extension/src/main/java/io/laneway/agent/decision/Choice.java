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
    /** Why it is refused; otherwise empty. */
    public final String refusal;

    Choice(Outcome outcome, List<Endpoint> endpoints, String refusal) {
        this.outcome = outcome;
        this.endpoints = endpoints;
        this.refusal = refusal;
    }
}
