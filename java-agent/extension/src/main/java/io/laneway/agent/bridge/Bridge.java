package io.laneway.agent.bridge;

/** Where adapters within applications find the agent. Every class of this package is in the bootstrap class loader. */
public final class Bridge {
    private static volatile Router router;

    private Bridge() {}

    /** The agent; {@code null} until it has started. */
    public static Router router() {
        return router;
    }

    /** The agent has started. */
    public static void install(Router installed) {
        router = installed;
    }
}
