package io.laneway.agent.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.laneway.agent.bridge.Instance;
import io.laneway.agent.discovery.Told;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class LaneRouterTest {
    private static final Map<String, String> BASE = Collections.emptyMap();
    private static final Map<String, String> GRAY = Collections.singletonMap("trade", "gray");

    private final List<String> said = new ArrayList<>();
    private final LaneRouter router = new LaneRouter(null, said::add);
    /** What the application's registry has, stale as it may be: the base, and a gray instance. */
    private final List<Instance> registered = Arrays.asList(
            new Instance("10.0.0.1", 80, OwnTags.metadata(""), "base"),
            new Instance("10.0.0.2", 80, OwnTags.metadata("gray"), "gray"));

    private void check(Told told, Map<String, String> carried, String... expected) {
        List<String> allowed = new ArrayList<>();
        for (Instance instance : router.allowed(told.view(), "SC-b", registered, carried)) {
            allowed.add(instance.known == null ? "added " + instance.host : instance.known.toString());
        }
        assertEquals(Arrays.asList(expected), allowed, carried::toString);
    }

    @Test
    void a_call_goes_to_what_its_lane_has() {
        Told told = new Told().service("sc-b", "10.0.0.1:80", "10.0.0.2:80=gray", "10.0.0.3:80=gray");
        check(told, BASE, "base");
        check(told, GRAY, "gray", "added 10.0.0.3");
    }

    @Test
    void a_service_whose_last_instance_has_left_is_nobody_s_whatever_the_registry_still_has() {
        check(new Told().service("sc-b"), BASE);
        check(new Told().service("sc-b"), GRAY);
        assertEquals(Arrays.asList("no usable base instance of sc-b", "no usable instance of sc-b in strict lane trade/gray"), said);
    }

    @Test
    void a_service_of_several_sources_is_called_at_none_and_they_are_named() {
        check(new Told().several("sc-b", "nacos", "fixed"), GRAY);
        assertEquals(
                Collections.singletonList("service SC-b is known to several sources (nacos, fixed): nobody is called"), said);
    }

    @Test
    void what_means_nothing_is_base_and_what_is_not_known_yet_goes_by_its_own_tags() {
        check(new Told().nothing("sc-b"), GRAY, "base");
        check(new Told(), GRAY, "gray");
        check(new Told(), BASE, "base");
    }
}
