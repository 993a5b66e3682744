package io.laneway.agent.routing;

import io.laneway.agent.bridge.Instance;
import io.laneway.agent.decision.Addresses;
import io.laneway.agent.decision.Choice;
import io.laneway.agent.decision.Endpoint;
import io.laneway.agent.decision.Service;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Predicate;

/**
 * Which of an application's connections go to which instance. One process listens at several ports, and not each of them
 * is what it is registered by: one at a port that nobody is registered by is its host's.
 */
final class Reachable {
    private final Map<String, List<Instance>> byAddress = new HashMap<>();
    private final Map<String, List<Instance>> unnamedByHost = new HashMap<>();
    private final Map<String, Set<String>> tagsByHost = new HashMap<>();
    private final Map<Endpoint, List<Instance>> byEndpoint = new IdentityHashMap<>();
    private final Map<String, List<Instance>> byTag = new ConcurrentHashMap<>();
    private final Service service;
    private final Service connected;
    /** Whether a connection goes to more than one of them, as one to a host of several does: it counts once. */
    private final boolean isAnyShared;
    private final List<Instance> registered;

    /** Found out anew where the list or the service is another one than that of {@code memo}. Neither is ever changed. */
    static Reachable of(Service service, List<Instance> registered, AtomicReference<Object> memo) {
        Object last = memo.get();
        if (last instanceof Reachable && ((Reachable) last).service == service && ((Reachable) last).registered == registered) {
            return (Reachable) last;
        }
        Reachable fresh = new Reachable(service, registered);
        memo.set(fresh);
        return fresh;
    }

    private Reachable(Service service, List<Instance> registered) {
        this.service = service;
        this.registered = registered;
        Set<String> named = new HashSet<>();
        for (Endpoint endpoint : service.endpoints()) {
            named.add(endpoint.address);
            named.addAll(endpoint.otherAddresses);
            tagsByHost.computeIfAbsent(host(endpoint.address), host -> new HashSet<>()).add(endpoint.tag);
        }
        for (Instance instance : registered) {
            String address = Addresses.canonical(instance.host, instance.port);
            if (address != null) {
                Map<String, List<Instance>> to = named.contains(address) ? byAddress : unnamedByHost;
                String key = named.contains(address) ? address : host(address);
                to.computeIfAbsent(key, unused -> new ArrayList<>(1)).add(instance);
            }
        }
        for (Endpoint endpoint : service.endpoints()) {
            byEndpoint.put(endpoint, found(endpoint));
        }
        isAnyShared = isAnyShared(byEndpoint.values());
        connected = service.only(endpoint -> !byEndpoint.get(endpoint).isEmpty());
    }

    private static boolean isAnyShared(Collection<List<Instance>> reached) {
        Set<Instance> seen = new HashSet<>();
        for (List<Instance> one : reached) {
            for (Instance instance : one) {
                if (!seen.add(instance)) {
                    return true;
                }
            }
        }
        return false;
    }

    /** The service with those of its instances alone that are reached by any connection. */
    Service connected() {
        return connected;
    }

    /** Whether an instance is reached by a connection of which this holds. */
    boolean isAny(Endpoint endpoint, Predicate<Instance> holds) {
        for (Instance instance : byEndpoint.get(endpoint)) {
            if (holds.test(instance)) {
                return true;
            }
        }
        return false;
    }

    /** All connections to those that a choice leaves where nobody is ejected: no more lists than the service has tags. */
    List<Instance> all(Choice choice) {
        if (choice.endpoints.isEmpty()) {
            return Collections.emptyList();
        }
        List<Instance> all = byTag.get(choice.tag);
        if (all == null) {
            all = Collections.unmodifiableList(of(choice.endpoints, any -> true));
            byTag.put(choice.tag, all);
        }
        return all;
    }

    /** All connections to these instances; those of which this holds, where it holds of any. */
    List<Instance> of(List<Endpoint> endpoints, Predicate<Instance> holds) {
        List<Instance> held = new ArrayList<>(endpoints.size());
        for (Endpoint endpoint : endpoints) {
            for (Instance instance : byEndpoint.get(endpoint)) {
                if (holds.test(instance)) {
                    held.add(instance);
                }
            }
        }
        if (held.isEmpty()) {
            endpoints.forEach(endpoint -> held.addAll(byEndpoint.get(endpoint)));
        }
        return isAnyShared ? new ArrayList<>(new LinkedHashSet<>(held)) : held;
    }

    private List<Instance> found(Endpoint endpoint) {
        List<Instance> found = byAddress.get(endpoint.address);
        for (String other : endpoint.otherAddresses) {
            found = found == null ? byAddress.get(other) : found;
        }
        return found == null ? unnamed(endpoint) : found;
    }

    /** What says a tag itself is of that; where instances of several tags share a host, saying nothing is saying base. */
    private List<Instance> unnamed(Endpoint endpoint) {
        String host = host(endpoint.address);
        List<Instance> own = new ArrayList<>(unnamedByHost.getOrDefault(host, Collections.<Instance>emptyList()));
        boolean isShared = tagsByHost.get(host).size() > 1;
        own.removeIf(instance -> {
            String tag = OwnTags.tag(instance);
            return !tag.equals(endpoint.tag) && (isShared || !tag.isEmpty());
        });
        return own;
    }

    private static String host(String address) {
        return address.substring(0, address.lastIndexOf(':'));
    }
}
