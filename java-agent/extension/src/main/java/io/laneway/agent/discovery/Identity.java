package io.laneway.agent.discovery;

/** Who this agent says it is, and where it connects. */
public final class Identity {
    final String control;
    final String node;
    final String application;
    final String namespace;
    final String tag;
    final String joinToken;
    final String version;
    final String address;

    /**
     * {@code control}: {@code host:port} of the control plane's discovery listener. {@code address}: where this agent is,
     * for people. Empty is untold.
     */
    public Identity(String control, String node, String application, String namespace, String tag, String joinToken,
            String version, String address) {
        this.control = control;
        this.node = node;
        this.application = application;
        this.namespace = namespace;
        this.tag = tag;
        this.joinToken = joinToken;
        this.version = version;
        this.address = address;
    }
}
