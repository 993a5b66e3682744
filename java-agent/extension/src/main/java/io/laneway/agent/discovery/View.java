package io.laneway.agent.discovery;

import io.laneway.agent.decision.Group;
import io.laneway.agent.decision.Policy;
import io.laneway.agent.decision.Service;
import io.laneway.agent.decision.XxHash64;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A whole picture as it was at one moment. A call uses one from start to end. */
public final class View {
    static final View NOTHING =
            new View(Collections.<Group>emptyList(), Collections.<String, Service>emptyMap(), null, false);

    /** What groups say. */
    public final Policy policy;
    /** A control plane has been heard. */
    public final boolean isTold;
    private final Map<String, Service> names;
    private final Set<Long> digest;

    View(List<Group> groups, Map<String, Service> names, Set<Long> digest, boolean isTold) {
        this.policy = new Policy(groups);
        this.names = names;
        this.digest = digest;
        this.isTold = isTold;
    }

    /** Whether it is known what a lower-case name means, be it nothing. */
    public boolean knows(String name) {
        return names.containsKey(name) || isTold && digest != null && !digest.contains(XxHash64.hash(name.getBytes(StandardCharsets.UTF_8)));
    }

    /** The service a lower-case name means; {@code null} where it means none, or that is not known. */
    public Service service(String name) {
        return names.get(name);
    }
}
