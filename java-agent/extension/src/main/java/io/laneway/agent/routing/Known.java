package io.laneway.agent.routing;

import io.laneway.agent.bridge.Allowed;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.decision.Addresses;
import io.laneway.agent.decision.Choice;
import io.laneway.agent.decision.Endpoint;
import io.laneway.agent.decision.Service;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;

/**
 * What has been found out of one list of an application's registry, so that a call need not look at all of it. Neither the list nor a
 * picture's service is ever changed: who of a tag may be called holds as long as both are the same objects.
 */
final class Known {
    private final List<Instance> registered;
    private final Allowed nobody = new Allowed(Collections.<Instance>emptyList());
    /** Found out when it is first asked for, as all below. */
    private volatile Map<String, Instance> byAddress;
    private volatile OwnTags ownTags;
    private volatile Those those;

    private Known(List<Instance> registered) {
        this.registered = registered;
    }

    /** Found out anew where the list is another one than that of {@code memo}. */
    static Known of(List<Instance> registered, AtomicReference<Object> memo) {
        Object last = memo.get();
        if (last instanceof Known && ((Known) last).registered == registered) {
            return (Known) last;
        }
        Known fresh = new Known(registered);
        memo.set(fresh);
        return fresh;
    }

    /** The same for all who are refused. */
    Allowed nobody() {
        return nobody;
    }

    Allowed byOwnTags(Map<String, String> carried) {
        OwnTags found = ownTags;
        if (found == null) {
            found = new OwnTags(registered);
            ownTags = found;
        }
        return found.allowed(carried);
    }

    /** Those that a choice at a service leaves, where nobody is ejected: all who may be chosen of its tag. */
    Allowed those(Service service, Choice choice) {
        if (choice.endpoints.isEmpty()) {
            return nobody;
        }
        Those last = those;
        if (last == null || last.service != service) {
            last = new Those(service);
            those = last;
        }
        Allowed allowed = last.byTag.get(choice.tag);
        if (allowed == null) {
            allowed = new Allowed(asKnown(choice.endpoints));
            last.byTag.put(choice.tag, allowed);
        }
        return allowed;
    }

    /** At one service; no more of them than it has tags. */
    private static final class Those {
        final Service service;
        final Map<String, Allowed> byTag = new ConcurrentHashMap<>();

        Those(Service service) {
            this.service = service;
        }
    }

    private List<Instance> asKnown(List<Endpoint> endpoints) {
        Map<String, Instance> known = byAddress();
        List<Instance> all = new ArrayList<>(endpoints.size());
        for (Endpoint endpoint : endpoints) {
            all.add(asKnown(endpoint, known));
        }
        return Collections.unmodifiableList(all);
    }

    /** By address, in its one spelling. */
    private Map<String, Instance> byAddress() {
        Map<String, Instance> found = byAddress;
        if (found == null) {
            found = new HashMap<>();
            for (Instance instance : registered) {
                found.put(Addresses.canonical(instance.host, instance.port), instance);
            }
            byAddress = found;
        }
        return found;
    }

    /** As the application knows an instance, or else as the control plane does. */
    private static Instance asKnown(Endpoint endpoint, Map<String, Instance> known) {
        Instance instance = known.get(endpoint.address);
        for (String other : endpoint.otherAddresses) {
            instance = instance == null ? known.get(other) : instance;
        }
        if (instance != null) {
            return instance;
        }
        int colon = endpoint.address.lastIndexOf(':');
        String host = endpoint.address.substring(0, colon);
        int port = Integer.parseInt(endpoint.address.substring(colon + 1));
        return new Instance(host, port, OwnTags.metadata(endpoint.tag), null);
    }
}
