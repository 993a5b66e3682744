package io.laneway.agent.entrance;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.bridge.Awaited;
import io.laneway.agent.discovery.Told;
import io.laneway.agent.discovery.View;
import io.laneway.agent.statistics.Counters;
import io.laneway.agent.statistics.Durations;
import io.laneway.agent.statistics.LaneCalls;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import io.opentelemetry.instrumentation.api.instrumenter.OperationListener;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class CountingTest {
    private static final OperationListener SERVERS = Counting.servers(true);
    private static final OperationListener RPC_SERVERS = Counting.servers(false);
    private static final OperationListener CLIENTS = Counting.clients();
    private static final long MILLISECOND = 1_000_000;

    private final Counters counters = new Counters();
    private final List<String> said = new ArrayList<>();

    /** As an instance of {@code app-b} with this tag. */
    private void install(String tag) {
        View view = new Told().lenient().service("sc-b", "10.0.0.1:80", "10.0.0.2:80=gray").view();
        Counting.install(new Counting(() -> view, "app-b", tag, counters, said::add));
    }

    @AfterEach
    void no_other_test_counts() {
        Counting.install(null);
    }

    private static Context in(String lane) {
        Baggage baggage = lane.isEmpty() ? Baggage.empty() : Baggage.builder().put("lane.trade", lane).build();
        return Context.root().with(baggage);
    }

    private static Attributes status(Integer status) {
        return status == null
                ? Attributes.empty()
                : Attributes.of(AttributeKey.longKey("http.response.status_code"), (long) status);
    }

    private static Attributes error(String type) {
        return Attributes.of(AttributeKey.stringKey("error.type"), type);
    }

    private static void call(Context of, String host, Integer status) {
        call(of, host, status(status));
    }

    private static void call(Context of, String host, Attributes end) {
        Attributes to = Attributes.of(AttributeKey.stringKey("server.address"), host, AttributeKey.longKey("server.port"), 80L);
        CLIENTS.onEnd(CLIENTS.onStart(of, to, 0), end, MILLISECOND);
    }

    /** {@code ROLE APPLICATION/SERVICE GROUP/LANE OUTCOME CLASS} and how many. */
    private String requests() {
        Map<String, Integer> all = new TreeMap<>();
        counters.requests().forEach((it, durations) -> all.put(
                it.role + " " + it.application + "/" + it.service + " " + it.group + "/" + it.lane + " " + it.outcome + " " + it.codeClass,
                sum(durations)));
        return all.toString();
    }

    private static int sum(Durations durations) {
        return Arrays.stream(durations.counted()).sum();
    }

    private String lanes() {
        StringBuilder all = new StringBuilder();
        for (LaneCalls.Lane lane : counters.laneCalls().all()) {
            all.append(lane.group).append('/').append(lane.tag).append(Arrays.toString(lane.counted()));
        }
        return all.toString();
    }

    @Test
    void what_is_served_counts_by_its_lane_and_by_whether_this_instance_is_of_it() {
        install("");
        for (String lane : new String[] {"gray", "gray", "", "nobody"}) {
            SERVERS.onEnd(SERVERS.onStart(in(lane), Attributes.empty(), 0), status(200), MILLISECOND);
        }
        install("gray");
        SERVERS.onEnd(SERVERS.onStart(in("gray"), Attributes.empty(), 0), status(503), MILLISECOND);
        assertEquals("{2 app-b/ / 3 2=2, 2 app-b/ trade/gray 1 5=1, 2 app-b/ trade/gray 2 2=2}", requests());
        assertEquals(0, counters.laneCalls().inFlight());
    }

    @Test
    void what_is_called_counts_by_who_was_reached() {
        install("");
        call(in("gray"), "10.0.0.2", 200);
        call(in("gray"), "10.0.0.1", 404);
        call(in(""), "10.0.0.1", error("java.net.ConnectException"));
        // Nobody of the mesh.
        call(in("gray"), "192.0.2.1", 200);
        call(in("gray"), "example.com", 200);
        assertEquals("{3 app-b/sc-b / 5 0=1, 3 app-b/sc-b trade/gray 1 2=1, 3 app-b/sc-b trade/gray 2 4=1}", requests());
        assertEquals("trade/gray[0, 2, 0, 0]", lanes());
    }

    @Test
    void who_leaves_before_the_answer_is_nobody_s_error() {
        install("");
        for (Attributes end : new Attributes[] {
                Attributes.empty(), error("_OTHER"), error("java.util.concurrent.CancellationException")}) {
            SERVERS.onEnd(SERVERS.onStart(in(""), Attributes.empty(), 0), end, MILLISECOND);
            call(in(""), "10.0.0.1", end);
        }
        call(in(""), "10.0.0.1", error("java.net.SocketTimeoutException"));
        assertEquals("{2 app-b/ / 5 4=3, 3 app-b/sc-b / 5 0=1, 3 app-b/sc-b / 5 4=3}", requests());
    }

    @Test
    void what_fails_within_leaves_the_request_its_context_and_is_said_once() {
        Counting.install(new Counting(() -> {
            throw new IllegalStateException("broken");
        }, "app-b", "", counters, said::add));
        Context context = in("gray");
        for (int times = 0; times < 2; times++) {
            assertSame(context, SERVERS.onStart(context, Attributes.empty(), 0));
            assertSame(context, CLIENTS.onStart(context, Attributes.of(AttributeKey.stringKey("server.address"), "10.0.0.1"), 0));
        }
        assertEquals(Collections.singletonList(
                "counting: java.lang.IllegalStateException: broken; the request goes on, and is in no figure"), said);
    }

    @Test
    void a_call_that_knows_no_request_has_lost_the_lane_and_the_thread_is_named_once() {
        install("gray");
        Context served = SERVERS.onStart(in("gray"), Attributes.empty(), 0);
        call(served, "10.0.0.2", 200);
        call(Context.root(), "10.0.0.1", 200);
        call(Context.root(), "10.0.0.1", 200);
        assertEquals("trade/gray[1, 1, 2, 0]", lanes());
        assertEquals(1, said.size(), said::toString);
        String name = "thread `" + Thread.currentThread().getName() + "` calls sc-b for no request that is known";
        assertTrue(said.get(0).startsWith(name), said::toString);
        // What belongs to a request of the base has lost nothing, whatever is served beside it.
        Context base = SERVERS.onStart(in(""), Attributes.empty(), 0);
        call(base, "10.0.0.1", 200);
        assertEquals("trade/gray[1, 1, 2, 0]", lanes());
        SERVERS.onEnd(base, status(200), MILLISECOND);
        SERVERS.onEnd(served, status(200), MILLISECOND);
        call(Context.root(), "10.0.0.1", 200);
        assertEquals("trade/gray[1, 1, 2, 0]", lanes());
    }

    @Test
    void what_is_called_and_served_by_others_than_http_counts_once_and_by_its_answer() {
        install("gray");
        for (Awaited.Answer answer : Awaited.Answer.values()) {
            try (Scope scope = in("gray").makeCurrent()) {
                Counting.calling("10.0.0.2", 80).ended(answer);
                assertNull(Counting.calling("192.0.2.1", 20880));
            }
            Context served = RPC_SERVERS.onStart(in("gray"), Attributes.empty(), System.nanoTime());
            try (Scope scope = served.makeCurrent()) {
                Awaited awaited = Counting.serving();
                // It calls itself, within the process.
                assertNull(Counting.serving());
                awaited.ended(answer);
            }
            RPC_SERVERS.onEnd(served, Attributes.empty(), System.nanoTime());
        }
        assertEquals("{2 app-b/ trade/gray 1 2=1, 2 app-b/ trade/gray 1 5=1, 2 app-b/ trade/gray 5 0=1, "
                + "3 app-b/sc-b trade/gray 1 2=1, 3 app-b/sc-b trade/gray 1 5=1, 3 app-b/sc-b trade/gray 5 0=1}", requests());
        // Within a request of HTTP it is that request.
        try (Scope scope = SERVERS.onStart(in("gray"), Attributes.empty(), 0).makeCurrent()) {
            assertNull(Counting.serving());
        }
    }
}
