package io.laneway.agent.entrance;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.bridge.Refusal;
import io.laneway.agent.decision.Condition;
import io.laneway.agent.decision.Group;
import io.laneway.agent.decision.Lane;
import io.laneway.agent.decision.Parameter;
import io.laneway.agent.decision.Policy;
import io.laneway.agent.statistics.Counters;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.api.baggage.BaggageBuilder;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class EntranceTest {
    private static final Collection<String> A = Collections.singleton("app-a");

    private Counters counters = new Counters();
    private final List<String> said = new ArrayList<>();

    /** Group {@code trade} of {@code app-a}, lane {@code gray} by {@code canary: gray} or by path, entered at these. */
    private static Policy policy(Collection<String> entrances, Collection<String> edges) {
        Lane gray = new Lane();
        gray.tag = "gray";
        gray.enabled = true;
        gray.admitting = true;
        gray.meetAny = true;
        gray.conditions.add(new Condition(new Parameter(Parameter.Place.HEADER, "Canary"), Condition.Operator.AMONG, "gray"));
        gray.conditions.add(new Condition(new Parameter(Parameter.Place.PATH, ""), Condition.Operator.PREFIX, "/beta"));
        gray.conditions.add(new Condition(new Parameter(Parameter.Place.QUERY, "user"), Condition.Operator.AMONG, "7"));
        gray.conditions.add(new Condition(new Parameter(Parameter.Place.HOST, ""), Condition.Operator.AMONG, "beta.example"));
        return new Policy(Collections.singletonList(new Group("trade", entrances, edges, A, Collections.singletonList(gray))));
    }

    private Entrance at(Policy policy, String tag) {
        return new Entrance(() -> policy, "app-a", tag, false, () -> true, counters, said::add);
    }

    private static Received request(String target, String... headers) {
        Map<String, String> fields = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        for (int at = 0; at < headers.length; at += 2) {
            fields.put(headers[at], headers[at + 1]);
        }
        String[] parts = target.split("\\?");
        Attributes attributes = Attributes.of(AttributeKey.stringKey("url.path"), parts[0],
                AttributeKey.stringKey("url.query"), parts.length > 1 ? parts[1] : "",
                AttributeKey.stringKey("http.request.method"), "GET");
        return Received.from(fields, new TextMapGetter<Map<String, String>>() {
            @Override
            public Iterable<String> keys(Map<String, String> carrier) {
                return carrier.keySet();
            }

            @Override
            public String get(Map<String, String> carrier, String key) {
                return carrier.get(key);
            }
        }).with(attributes);
    }

    private static Baggage baggage(String... members) {
        BaggageBuilder builder = Baggage.builder();
        for (String member : members) {
            builder.put(member.split("=")[0], member.split("=")[1]);
        }
        return builder.build();
    }

    private static List<String> members(Baggage baggage) {
        List<String> members = new ArrayList<>();
        baggage.forEach((key, entry) -> members.add(key + "=" + entry.getValue()));
        Collections.sort(members);
        return members;
    }

    private void check(Policy policy, Received request, Baggage brought, String... goesOn) {
        assertEquals(Arrays.asList(goesOn), members(at(policy, "").arrived(brought, request).baggage));
    }

    @Test
    void an_entrance_decides_for_requests_that_have_no_lane_yet() {
        Policy policy = policy(A, Collections.<String>emptyList());
        check(policy, request("/a"), baggage("user=7"), "lane.trade=-", "user=7");
        check(policy, request("/a", "CANARY", " gray"), baggage(), "lane.trade=gray");
        check(policy, request("/%62eta/x"), baggage(), "lane.trade=gray");
        check(policy, request("/a?user=7"), baggage(), "lane.trade=gray");
        check(policy, request("/a", "Host", "Beta.example:8080"), baggage(), "lane.trade=gray");
        // Decided before: not drawn twice. And what others know travels on.
        check(policy, request("/a", "canary", "gray"), baggage("lane.trade=-", "lane.other=x"), "lane.other=x", "lane.trade=-");
        check(policy, request("/a"), baggage("lane.trade=gray"), "lane.trade=gray");
    }

    @Test
    void what_an_entrance_has_decided_is_counted_by_lane() {
        Policy policy = policy(A, Collections.<String>emptyList());
        at(policy, "").arrived(baggage(), request("/a", "canary", "gray"));
        at(policy, "").arrived(baggage(), request("/a"));
        // Decided elsewhere.
        at(policy, "").arrived(baggage("lane.trade=gray"), request("/a"));
        Map<String, Long> entered = new TreeMap<>();
        counters.entered().forEach((lane, count) -> entered.put(lane, count.sum()));
        assertEquals("{trade/=1, trade/gray=1}", entered.toString());
    }

    @Test
    void an_edge_believes_nobody() {
        Policy policy = policy(A, A);
        check(policy, request("/a"), baggage("lane.trade=gray", "lane.other=x", "user=7"), "lane.trade=-", "user=7");
        check(policy, request("/a", "canary", "gray"), baggage("lane.trade=-"), "lane.trade=gray");
    }

    @Test
    void a_lane_finds_room_whatever_else_a_request_brings() {
        Policy policy = policy(A, A);
        BaggageBuilder many = Baggage.builder();
        for (int number = 0; number < 64; number++) {
            many.put("a" + number, "1");
        }
        Baggage goesOn = at(policy, "").arrived(many.build(), request("/a", "canary", "gray")).baggage;
        assertEquals(64, goesOn.size());
        assertEquals("gray", goesOn.getEntryValue("lane.trade"));
        Baggage long_ = Baggage.builder().put("a", new String(new char[8_180]).replace('\0', 'x')).build();
        assertEquals(Arrays.asList("lane.trade=gray"), members(at(policy, "").arrived(long_, request("/a", "canary", "gray")).baggage));
    }

    @Test
    void an_edge_that_cannot_decide_believes_nobody_all_the_same() {
        Baggage brought = baggage("lane.trade=gray", "user=7");
        assertEquals(Arrays.asList("user=7"), members(at(policy(A, A), "").undecided(brought)));
        assertEquals(members(brought), members(at(policy(A, Collections.<String>emptyList()), "").undecided(brought)));
    }

    @Test
    void who_is_no_entrance_leaves_the_baggage_as_it_is() {
        Policy policy = policy(Collections.<String>emptyList(), Collections.<String>emptyList());
        check(policy, request("/a", "canary", "gray"), baggage("lane.trade=-"), "lane.trade=-");
    }

    @Test
    void what_no_lane_leads_to_this_instance_is_counted_and_said() {
        Policy policy = policy(Collections.<String>emptyList(), Collections.<String>emptyList());
        Entrance gray = at(policy, "gray");
        gray.arrived(baggage("lane.trade=gray"), request("/a"));
        assertEquals(0, counters.misroutedSoFar());
        gray.arrived(baggage(), request("/a", "traceparent", "00-1-2-01"));
        gray.arrived(baggage("lane.trade=nobody"), request("/a"));
        // A probe.
        gray.arrived(baggage(), request("/health"));
        assertEquals(2, counters.misroutedSoFar());
        assertEquals(1, said.size(), said::toString);
        assertTrue(said.get(0).startsWith("requests arrive that no lane leads to this instance (gray of app-a): 1 so far"), said::toString);
        // The base serves those whose lane has nobody here; and a lane that only the caller knows is newer.
        counters = new Counters();
        Entrance base = at(policy, "");
        base.arrived(baggage("lane.trade=gray"), request("/a"));
        at(policy, "blue").arrived(baggage("lane.trade=blue"), request("/a"));
        assertEquals(0, counters.misroutedSoFar());
    }

    @Test
    void what_no_lane_leads_here_is_refused_as_its_caller_understands_it() {
        Policy policy = policy(Collections.<String>emptyList(), Collections.<String>emptyList());
        Entrance gray = at(policy, "gray");
        assertNull(gray.arrived(baggage("lane.trade=gray"), request("/a")).refusal);
        assertNull(gray.arrived(baggage(), request("/health")).refusal);
        Refusal refusal = gray.arrived(baggage(), request("/a", "traceparent", "00-1-2-01")).refusal;
        assertEquals("503 laneway: this instance does not serve the request: it is gray of app-a, and the request is base",
                refusal.status() + " " + refusal.reason);
        for (String via : new String[] {"1.1 laneway-00000000000000aa (default/sc-a)", "1.0 cache, 1.1 laneway-00000000000000aa"}) {
            refusal = gray.arrived(baggage("lane.trade=-"), request("/a", "via", via)).refusal;
            assertEquals("421 laneway: this instance does not serve the request: it is gray of app-a, and the request is {trade=-}",
                    refusal.status() + " " + refusal.reason);
        }
        // Somebody else stands between.
        assertEquals(503, gray.arrived(baggage("lane.trade=-"), request("/a", "via", "1.1 laneway-00000000000000aa, 1.0 cache")).refusal.status());
        Context context = Entrance.with(Context.root(), gray.arrived(baggage("lane.trade=-"), request("/a")));
        assertEquals(503, Entrance.refusal(context).status());
        assertNull(Entrance.refusal(Entrance.with(Context.root(), gray.arrived(baggage("lane.trade=gray"), request("/a")))));
    }

    @Test
    void what_is_only_counted_is_served() {
        Policy policy = policy(Collections.<String>emptyList(), Collections.<String>emptyList());
        Entrance lenient = new Entrance(() -> policy, "app-a", "gray", false, () -> false, counters, said::add);
        assertNull(lenient.arrived(baggage("lane.trade=-"), request("/a")).refusal);
        assertEquals(1, counters.misroutedSoFar());
        // And before anything has been heard there is nothing to go by.
        Policy nothing = new Policy(Collections.<Group>emptyList());
        assertNull(at(nothing, "gray").arrived(baggage("lane.trade=-"), request("/a")).refusal);
    }

    @Test
    void who_may_be_an_edge_believes_nobody_until_the_groups_are_known() {
        Policy[] now = {new Policy(Collections.<Group>emptyList())};
        Entrance edge = new Entrance(() -> now[0], "app-a", "", true, () -> true, counters, said::add);
        Baggage brought = baggage("lane.trade=gray", "user=7");
        assertEquals(Arrays.asList("user=7"), members(edge.arrived(brought, request("/a")).baggage));
        assertEquals(Arrays.asList("user=7"), members(edge.undecided(brought)));
        now[0] = policy(A, Collections.<String>emptyList());
        assertEquals(members(brought), members(edge.arrived(brought, request("/a")).baggage));
    }
}
