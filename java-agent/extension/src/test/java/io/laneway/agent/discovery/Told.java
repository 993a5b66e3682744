package io.laneway.agent.discovery;

import io.laneway.agent.decision.Endpoint;
import io.laneway.agent.decision.Group;
import io.laneway.agent.decision.Lane;
import io.laneway.agent.decision.Service;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A picture for tests of what is decided on one: group {@code trade} of {@code app-b} with the strict lane {@code gray}. */
public final class Told {
    private final Map<String, Service> names = new HashMap<>();
    private final Map<String, List<String>> ambiguous = new HashMap<>();
    private boolean isStrict = true;
    private boolean isSwitchedOff;

    /** The lane falls back to the base. */
    public Told lenient() {
        isStrict = false;
        return this;
    }

    /** The application is switched off in the lane. */
    public Told switchedOff() {
        isSwitchedOff = true;
        return this;
    }

    /** {@code sc-b}, or another of its application; an instance is {@code ip:port}, or {@code ip:port=TAG}. */
    public Told service(String name, String... instances) {
        Endpoint[] endpoints = new Endpoint[instances.length];
        for (int at = 0; at < instances.length; at++) {
            String[] parts = instances[at].split("=");
            endpoints[at] = new Endpoint();
            endpoints[at].address = parts[0];
            endpoints[at].tag = parts.length > 1 ? parts[1] : "";
        }
        return service(new Service(name, "app-b", Arrays.asList(endpoints)));
    }

    /** One as it is: it may be the same in several pictures. */
    public Told service(Service service) {
        names.put(service.name, service);
        return this;
    }

    /** A name that is known to mean nothing. */
    public Told nothing(String name) {
        names.put(name, null);
        return this;
    }

    /** A name that several sources have. */
    public Told several(String name, String... sources) {
        ambiguous.put(name, Arrays.asList(sources));
        return this;
    }

    /** All of it. */
    public View view() {
        Lane gray = new Lane();
        gray.tag = "gray";
        gray.enabled = true;
        gray.strict = isStrict;
        if (isSwitchedOff) {
            gray.switchedOff.add("app-b");
        }
        Group trade = new Group("trade", Collections.<String>emptyList(), Collections.<String>emptyList(), Collections.singleton("app-b"), Collections.singletonList(gray));
        return new View(Collections.singletonList(trade), names, ambiguous, null, true);
    }
}
