package io.laneway.agent.statistics;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class CountersTest {
    @Test
    void durations_fall_into_the_buckets_of_the_protocol() {
        // As `crates/telemetry/src/sketch.rs` has them: 2^16 ns begins the second, a doubling is four.
        long[] nanos = {-1, 0, 65_535, 65_536, 81_920, 131_072, 3_000_000, 900_000_000, (1L << 37) - 1, 1L << 37, Long.MAX_VALUE};
        int[] buckets = Arrays.stream(nanos).mapToInt(Durations::bucketOf).toArray();
        assertEquals("[0, 0, 0, 1, 2, 5, 22, 55, 84, 85, 85]", Arrays.toString(buckets));
    }

    @Test
    void however_many_series_there_are_the_memory_is_bounded_and_nothing_is_left_out() {
        Counters counters = new Counters();
        for (int number = 0; number < Counters.SERIES_MAX + 10; number++) {
            counters.request(new Labels(Labels.OUTBOUND, "app-" + number, "", "", "", Labels.BASE, 2), 1);
        }
        int all = counters.requests().values().stream().mapToInt(one -> one.counted()[0]).sum();
        assertEquals(Counters.SERIES_MAX + 1, counters.requests().size());
        assertEquals(Counters.SERIES_MAX + 10, all);
    }

    private static String counted(LaneCalls calls) {
        StringBuilder all = new StringBuilder();
        calls.all().stream().sorted((one, other) -> one.tag.compareTo(other.tag)).forEach(lane ->
                all.append(lane.group).append('/').append(lane.tag).append(Arrays.toString(lane.counted())));
        return all.toString();
    }

    @Test
    void a_call_of_no_request_has_lost_the_lane_that_alone_is_served_and_may_have_lost_any_of_several() {
        LaneCalls calls = new LaneCalls();
        calls.leftOut();
        LaneCalls.Lane gray = calls.arrived("trade", "gray");
        calls.carried("trade", "gray");
        assertEquals(gray, calls.leftOut());
        assertEquals("trade/gray[1, 1, 1, 0]", counted(calls));
        // Another lane, and then the base beside it.
        LaneCalls.Lane blue = calls.arrived("trade", "blue");
        assertEquals(null, calls.leftOut());
        calls.left(blue);
        calls.arrived("", "");
        assertEquals(null, calls.leftOut());
        assertEquals("trade/blue[1, 0, 0, 1]trade/gray[1, 1, 1, 2]", counted(calls));
        assertEquals(2, calls.inFlight());
        calls.left(gray);
        calls.leftOut();
        assertEquals("trade/blue[1, 0, 0, 1]trade/gray[1, 1, 1, 2]", counted(calls), "nothing is served in a lane");
    }
}
