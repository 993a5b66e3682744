package io.laneway.agent.threads;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.ContextStorage;
import io.opentelemetry.context.Scope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class InheritingTest {
    private static final Context LANE = Context.root().with(Baggage.builder().put("lane.trade", "gray").build());
    private static final long MINUTE = Inheriting.AFTER_REQUEST_NANOS;

    private final AtomicLong clock = new AtomicLong(-5);
    private final List<String> said = new ArrayList<>();
    private final Inheriting inheriting = new Inheriting(clock::get, said::add);

    @AfterEach
    void no_other_test_inherits() {
        Storage.install(null);
    }

    /** What a thread answers that has been started in a context. */
    private <T> T on(Context context, Supplier<T> what) throws Exception {
        FutureTask<T> answer = new FutureTask<>(what::get);
        Thread thread = new Thread(answer);
        inheriting.inherit(thread, context);
        thread.start();
        return answer.get();
    }

    private Context seenAt(long nanos) {
        clock.set(nanos);
        return inheriting.inherited();
    }

    @Test
    void a_thread_has_the_context_of_the_request_until_a_minute_after_its_end() throws Exception {
        Context request = Serving.begin(LANE);
        List<Context> seen = on(request, () -> {
            Context served = seenAt(100 * MINUTE);
            Serving.end(request, 100 * MINUTE);
            return Arrays.asList(served, seenAt(101 * MINUTE), seenAt(101 * MINUTE + 1), seenAt(100 * MINUTE));
        });
        assertEquals(Arrays.asList(request, request, null, null), seen);
        assertNull(inheriting.inherited());
    }

    @Test
    void what_belongs_to_no_request_is_inherited_for_a_minute() throws Exception {
        clock.set(7 * MINUTE);
        assertEquals(Arrays.asList(LANE, null), on(LANE, () -> Arrays.asList(seenAt(8 * MINUTE), seenAt(8 * MINUTE + 1))));
    }

    @Test
    void who_looks_for_work_in_a_queue_has_no_request_any_more() throws Exception {
        assertEquals(Arrays.asList(LANE, null), on(LANE, () -> {
            Context first = inheriting.inherited();
            inheriting.waiting();
            return Arrays.asList(first, inheriting.inherited());
        }));
    }

    /** As Dubbo waits for an answer on the thread that calls. */
    private static final class ThreadlessExecutor {
        static void waitIn(Inheriting inheriting) {
            inheriting.waiting();
        }
    }

    @Test
    void who_waits_at_a_queue_for_an_answer_goes_on_with_its_request() throws Exception {
        assertSame(LANE, on(LANE, () -> {
            ThreadlessExecutor.waitIn(inheriting);
            return inheriting.inherited();
        }));
    }

    @Test
    void a_context_of_its_own_comes_before_an_inherited_one() throws Exception {
        Storage.install(inheriting::inherited);
        ContextStorage storage = Storage.over(ContextStorage.defaultStorage());
        Context own = Context.root();
        assertEquals(Arrays.asList(LANE, own, LANE), on(LANE, () -> {
            Context before = storage.current();
            Context within;
            try (Scope scope = storage.attach(own)) {
                within = storage.current();
            }
            return Arrays.asList(before, within, storage.current());
        }));
        assertNull(storage.current());
    }

    @Test
    void no_more_threads_are_known_than_there_is_room_for_and_those_that_have_ended_make_some() throws Exception {
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < Inheriting.THREADS_MAX; number++) {
            // One that has not been started yet, as at the moment in which it is asked for.
            Thread thread = new Thread(() -> {});
            threads.add(thread);
            inheriting.inherit(thread, LANE);
        }
        assertNull(on(LANE, inheriting::inherited));
        assertNull(on(LANE, inheriting::inherited));
        assertEquals(1, said.size(), said::toString);
        assertTrue(said.get(0).startsWith("more than 4096 threads"), said::toString);
        Thread ended = threads.get(0);
        ended.start();
        ended.join();
        assertSame(LANE, on(LANE, inheriting::inherited));
    }

    @Test
    void workers_are_known_by_who_starts_them() {
        for (String maker : new String[] {
            "java.util.concurrent.ThreadPoolExecutor", "java.util.Timer", "io.netty.util.concurrent.ThreadPerTaskExecutor",
            "com.example.shaded.io.netty.util.concurrent.ThreadPerTaskExecutor", "org.apache.kafka.clients.producer.KafkaProducer",
        }) {
            assertTrue(Callers.isMaker(maker), maker);
        }
        for (String application : new String[] {"com.example.Orders", "org.example.java.util.Timers", "nettyapp.Main"}) {
            assertFalse(Callers.isMaker(application), application);
        }
    }
}
