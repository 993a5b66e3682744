package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** The instances of one service. */
public final class Service {
    /** As callers write it. */
    public final String name;
    /** Whose instances it has. */
    public final String application;
    private final List<Endpoint> endpoints;
    /** The usable ones by their tags, and who of them may be chosen: each call asks for that. */
    private final Map<String, List<Endpoint>> usable = new HashMap<>();
    private final Map<String, List<Endpoint>> candidates = new HashMap<>();

    /** {@code name} as callers write it. */
    public Service(String name, String application, List<Endpoint> endpoints) {
        this.name = name;
        this.application = application;
        this.endpoints = Collections.unmodifiableList(new ArrayList<>(endpoints));
        for (Endpoint endpoint : endpoints) {
            if (endpoint.usable) {
                usable.computeIfAbsent(endpoint.tag, tag -> new ArrayList<>()).add(endpoint);
            }
        }
        usable.forEach((tag, all) -> candidates.put(tag, Collections.unmodifiableList(weighty(all))));
    }

    /** What weighs nothing takes nothing unless all are such. */
    private static List<Endpoint> weighty(List<Endpoint> usable) {
        List<Endpoint> weighty = new ArrayList<>(usable.size());
        for (Endpoint endpoint : usable) {
            if (endpoint.weight > 0) {
                weighty.add(endpoint);
            }
        }
        return weighty.isEmpty() ? usable : weighty;
    }

    /** The same service with those instances alone. */
    public Service only(Predicate<Endpoint> stays) {
        List<Endpoint> left = new ArrayList<>(endpoints);
        left.removeIf(stays.negate());
        return new Service(name, application, left);
    }

    /** All instances, usable or not. */
    public List<Endpoint> endpoints() {
        return endpoints;
    }

    /** Who of a tag may be chosen where nobody is out; empty where nobody may. The empty tag is the base. */
    List<Endpoint> candidates(String tag) {
        return candidates.getOrDefault(tag, Collections.<Endpoint>emptyList());
    }

    /** Who of a tag may be chosen now. */
    List<Endpoint> candidates(String tag, Predicate<Endpoint> isOut) {
        List<Endpoint> left = new ArrayList<>();
        for (Endpoint endpoint : usable.getOrDefault(tag, Collections.<Endpoint>emptyList())) {
            if (!isOut.test(endpoint)) {
                left.add(endpoint);
            }
        }
        return weighty(left);
    }

    /** The usable instance of a tag that has this address. */
    Endpoint at(String tag, String address, Predicate<Endpoint> isOut) {
        for (Endpoint endpoint : endpoints) {
            boolean isIt = endpoint.address.equals(address) || endpoint.otherAddresses.contains(address);
            if (isIt && endpoint.usable && endpoint.tag.equals(tag) && !isOut.test(endpoint)) {
                return endpoint;
            }
        }
        return null;
    }
}
