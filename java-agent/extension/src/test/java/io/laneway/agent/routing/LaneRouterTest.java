package io.laneway.agent.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import io.laneway.agent.bridge.Instance;
import io.laneway.agent.discovery.Told;
import io.laneway.agent.discovery.View;
import io.laneway.agent.statistics.Counters;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class LaneRouterTest {
    private static final Map<String, String> BASE = Collections.emptyMap();
    private static final Map<String, String> GRAY = Collections.singletonMap("trade", "gray");

    private final List<String> said = new ArrayList<>();
    private final Counters counters = new Counters();
    private final LaneRouter router = new LaneRouter(null, new Registration("", ""), counters, said::add);
    /** What the application's registry has, stale as it may be: the base, and a gray instance. */
    private final List<Instance> registered = Arrays.asList(
            new Instance("10.0.0.1", 80, OwnTags.metadata(""), "base"),
            new Instance("10.0.0.2", 80, OwnTags.metadata("gray"), "gray"));

    private void check(Told told, Map<String, String> carried, String... expected) {
        List<String> allowed = new ArrayList<>();
        for (Instance instance : router.allowed(told.view(), "SC-b", registered, carried, new AtomicReference<>()).instances) {
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
    void who_may_be_served_by_nobody_is_counted_by_lane() {
        check(new Told().service("sc-b"), BASE);
        check(new Told().service("sc-b"), GRAY);
        check(new Told().service("sc-b"), GRAY);
        // A strict lane lets nobody else serve where the application is switched off in it.
        check(new Told().switchedOff().service("sc-b", "10.0.0.1:80", "10.0.0.2:80=gray"), GRAY);
        Map<String, Integer> denied = new TreeMap<>();
        counters.requests().forEach((labels, durations) -> denied.put(
                labels.service + " " + labels.group + "/" + labels.lane + " " + labels.outcome, durations.counted()[0]));
        assertEquals("{sc-b / 4=1, sc-b trade/gray 4=3}", denied.toString());
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

    /** {@code connected}: {@code ip:port}, {@code ip:port=TAG}, and {@code !ip:port} of one that is not there now. */
    private void among(Told told, Map<String, String> carried, String connected, String... expected) {
        List<Instance> all = new ArrayList<>();
        for (String one : connected.split(" ")) {
            String[] parts = one.replace("!", "").split("[:=]");
            Map<String, String> metadata = OwnTags.metadata(parts.length > 2 ? parts[2] : "");
            all.add(new Instance(parts[0], Integer.parseInt(parts[1]), metadata, one));
        }
        List<String> found = new ArrayList<>();
        String[] names = {"providers:Shop::", "sc-b"};
        for (Instance instance : router.among(
                told.view(), names, all, one -> !one.known.toString().startsWith("!"), carried, new AtomicReference<>())) {
            found.add(instance.known.toString());
        }
        assertEquals(Arrays.asList(expected), found, () -> carried + " of " + connected);
    }

    @Test
    void of_connections_those_to_the_lane_s_instances_are_used() {
        Told told = new Told().service("sc-b", "10.0.0.1:80", "10.0.0.2:80=gray", "10.0.0.3:80=gray");
        String all = "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 10.0.0.4:80";
        among(told, BASE, all, "10.0.0.1:80");
        among(told, GRAY, all, "10.0.0.2:80", "10.0.0.3:80");
        among(told, GRAY, "10.0.0.1:80 !10.0.0.2:80 10.0.0.3:80", "10.0.0.3:80");
        // The lane is strict: its instances are tried rather than the base, and without a connection nobody is.
        among(told, GRAY, "10.0.0.1:80 !10.0.0.2:80", "!10.0.0.2:80");
        among(told, GRAY, "10.0.0.1:80");
        assertEquals(Collections.singletonList("no usable instance of sc-b in strict lane trade/gray"), said);
        // Of the base too those that are there come first, and else those that are not.
        among(told, BASE, "!10.0.0.1:80 10.0.0.2:80", "!10.0.0.1:80");
    }

    @Test
    void what_was_found_out_of_connections_holds_for_these_connections_and_this_picture_alone() {
        AtomicReference<Object> memo = new AtomicReference<>();
        View before = new Told().service("sc-b", "10.0.0.1:80", "10.0.0.2:80=gray").view();
        assertEquals("[gray]", known(before, registered, memo));
        Object found = memo.get();
        assertEquals("[gray]", known(before, registered, memo));
        assertSame(found, memo.get());
        // The gray one is the base now, and then there are other connections.
        View after = new Told().lenient().service("sc-b", "10.0.0.2:80").view();
        assertEquals("[gray]", known(after, registered, memo));
        assertEquals("[]", known(after, registered.subList(0, 1), memo));
        assertEquals("[gray]", known(before, registered, memo));
    }

    private String known(View view, List<Instance> connected, AtomicReference<Object> memo) {
        List<Object> known = new ArrayList<>();
        router.among(view, new String[] {"sc-b"}, connected, any -> true, GRAY, memo).forEach(one -> known.add(one.known));
        return known.toString();
    }

    @Test
    void whom_there_is_no_connection_to_stands_in_nobody_s_way() {
        Told told = new Told().lenient().service("sc-b", "10.0.0.1:80", "10.0.0.2:80=gray");
        among(told, GRAY, "10.0.0.1:80", "10.0.0.1:80");
        among(told, GRAY, "!10.0.0.1:80", "!10.0.0.1:80");
        among(told, GRAY, "10.0.0.1:80 !10.0.0.2:80", "10.0.0.1:80");
    }

    @Test
    void the_first_name_that_is_known_counts() {
        Told told = new Told().service("providers:shop::", "10.0.0.2:80").service("sc-b", "10.0.0.1:80");
        among(told, BASE, "10.0.0.1:80 10.0.0.2:80", "10.0.0.2:80");
        among(new Told().several("sc-b", "nacos", "fixed"), BASE, "10.0.0.1:80");
    }

    @Test
    void a_port_that_nobody_is_registered_by_is_that_of_its_host() {
        Told told = new Told().service("sc-b", "10.0.0.1:80", "10.0.0.2:80=gray", "10.0.0.3:81", "10.0.0.3:82=gray");
        among(told, BASE, "10.0.0.1:50051 10.0.0.2:50051", "10.0.0.1:50051");
        among(told, GRAY, "10.0.0.1:50051 10.0.0.2:50051", "10.0.0.2:50051");
        // What says its tag is of that, though the picture has the base alone on its host.
        among(told, BASE, "10.0.0.1:50051 10.0.0.1:50052=gray", "10.0.0.1:50051");
        // Two tags on one host: a port is whose it says itself.
        String both = "10.0.0.3:50051 10.0.0.3:50052=gray";
        among(told, BASE, both, "10.0.0.3:50051");
        among(told, GRAY, both, "10.0.0.3:50052=gray");
        among(told, GRAY, "10.0.0.3:50052=gray 10.0.0.3:82", "10.0.0.3:82");
    }
}
