package io.laneway.agent.bridge;

import java.util.Map;

/** An instance of a service as an application's registry, or the control plane, knows it. */
public final class Instance {
    /** A host name or an address. */
    public final String host;
    /** Its port. */
    public final int port;
    /** What its registry says of it. */
    public final Map<String, String> metadata;
    /** What the application knows it as; {@code null} for one that only the control plane knows. */
    public final Object known;

    /** With all of it. */
    public Instance(String host, int port, Map<String, String> metadata, Object known) {
        this.host = host;
        this.port = port;
        this.metadata = metadata;
        this.known = known;
    }
}
