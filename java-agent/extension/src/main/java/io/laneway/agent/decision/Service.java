package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Predicate;

/** The instances of one service. */
public final class Service {
    /** As callers write it. */
    public final String name;
    /** Whose instances it has. */
    public final String application;
    private final List<Endpoint> endpoints;

    /** {@code name} as callers write it. */
    public Service(String name, String application, List<Endpoint> endpoints) {
        this.name = name;
        this.application = application;
        this.endpoints = Collections.unmodifiableList(new ArrayList<>(endpoints));
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

    /** Who of a tag may be chosen now; empty where nobody may. The empty tag is the base. */
    List<Endpoint> candidates(String tag, Predicate<Endpoint> isOut) {
        List<Endpoint> usable = new ArrayList<>();
        List<Endpoint> weighty = new ArrayList<>();
        for (Endpoint endpoint : endpoints) {
            if (endpoint.usable && endpoint.tag.equals(tag) && !isOut.test(endpoint)) {
                usable.add(endpoint);
                if (endpoint.weight > 0) {
                    weighty.add(endpoint);
                }
            }
        }
        return weighty.isEmpty() ? usable : weighty;
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
