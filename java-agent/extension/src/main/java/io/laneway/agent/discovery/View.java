package io.laneway.agent.discovery;

import io.laneway.agent.decision.Endpoint;
import io.laneway.agent.decision.Group;
import io.laneway.agent.decision.Policy;
import io.laneway.agent.decision.Service;
import io.laneway.agent.decision.XxHash64;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A whole picture as it was at one moment. A call uses one from start to end. */
public final class View {
    static final View NOTHING = new View(Collections.<Group>emptyList(), Collections.<String, Service>emptyMap(),
            Collections.<String, List<String>>emptyMap(), null, false);

    /** With what the names of Dubbo's interfaces begin in Nacos. */
    private static final String INTERFACE = "providers:";

    /** What groups say. */
    public final Policy policy;
    /** A control plane has been heard. */
    final boolean isTold;
    private final Map<String, Service> names;
    private final Map<String, List<String>> ambiguous;
    private final long[] digest;
    /** By {@code ip:port}; {@code null} until somebody asks. */
    private volatile Map<String, At> addresses;

    /** {@code digest}: sorted hashes of all names there are; {@code null} where they have not been told. */
    View(List<Group> groups, Map<String, Service> names, Map<String, List<String>> ambiguous, long[] digest,
            boolean isTold) {
        this.policy = new Policy(groups);
        this.names = names;
        this.ambiguous = ambiguous;
        this.digest = digest;
        this.isTold = isTold;
    }

    /** Whether it is known what a lower-case name means, be it nothing. */
    public boolean knows(String name) {
        return names.containsKey(name) || ambiguous.containsKey(name) || isTold && digest != null && !isInDigest(name);
    }

    private boolean isInDigest(String name) {
        return Arrays.binarySearch(digest, XxHash64.hash(name.getBytes(StandardCharsets.UTF_8))) >= 0;
    }

    /** The service a lower-case name means; {@code null} where it means none, or that is not known. */
    public Service service(String name) {
        return names.get(name);
    }

    /** An instance, and the service that it is of. */
    public static final class At {
        /** By the first of its names that is none of Dubbo's interfaces. */
        public final Service service;
        /** Which. */
        public final Endpoint endpoint;

        At(Service service, Endpoint endpoint) {
            this.service = service;
            this.endpoint = endpoint;
        }
    }

    /** Whose address this is, in its one spelling; {@code null} where that is not known. */
    public At at(String address) {
        Map<String, At> all = addresses;
        if (all == null) {
            all = addresses();
            addresses = all;
        }
        return all.get(address);
    }

    private Map<String, At> addresses() {
        List<String> sorted = new ArrayList<>(names.keySet());
        sorted.sort(Comparator.comparing((String name) -> name.startsWith(INTERFACE)).thenComparing(name -> name));
        Map<String, At> all = new HashMap<>();
        for (String name : sorted) {
            Service service = names.get(name);
            for (Endpoint endpoint : service == null ? Collections.<Endpoint>emptyList() : service.endpoints()) {
                At at = new At(service, endpoint);
                all.putIfAbsent(endpoint.address, at);
                endpoint.otherAddresses.forEach(other -> all.putIfAbsent(other, at));
            }
        }
        return all;
    }

    /** The sources that have a service of this lower-case name, where they are several; otherwise empty. */
    public List<String> sources(String name) {
        return ambiguous.getOrDefault(name, Collections.<String>emptyList());
    }
}
