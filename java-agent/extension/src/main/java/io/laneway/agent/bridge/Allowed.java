package io.laneway.agent.bridge;

import java.util.List;

/** Who may serve a call. The same object is shown again for as long as the same instances of the same list may. */
public final class Allowed {
    /** Them; empty where nobody may. The list is not changed by whoever is shown it. */
    public final List<Instance> instances;
    /** Where whoever is shown it keeps what it has made of it; {@code null} at first. */
    public volatile Object made;

    /** Of these. */
    public Allowed(List<Instance> instances) {
        this.instances = instances;
    }
}
