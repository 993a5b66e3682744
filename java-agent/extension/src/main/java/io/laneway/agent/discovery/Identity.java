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

    /** {@code control}: {@code host:port} of the control plane's discovery listener. Empty is untold. */
    public Identity(String control, String node, String application, String namespace, String tag, String joinToken,
            String version) {
        this.control = control;
        this.node = node;
        this.application = application;
        this.namespace = namespace;
        this.tag = tag;
        this.joinToken = joinToken;
        this.version = version;
    }
}
