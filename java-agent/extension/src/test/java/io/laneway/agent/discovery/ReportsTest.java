package io.laneway.agent.discovery;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.laneway.agent.statistics.Counters;
import io.laneway.agent.statistics.Labels;
import io.laneway.agent.statistics.LaneCalls;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class ReportsTest {
    private static final long MILLISECOND = 1_000_000;
    private static final Set<String> MESSAGES = new HashSet<>(Arrays.asList(".6", ".6.2", ".6.3", ".6.4", ".4", ".4.3"));
    private static final Set<String> TEXTS = new HashSet<>(
            Arrays.asList(".6.2.2", ".6.2.3", ".6.2.5", ".6.2.6", ".6.4.1", ".6.4.2", ".4.3.1", ".4.3.2"));

    private final Counters counters = new Counters();

    private void request(String service, long nanos) {
        counters.request(new Labels(Labels.OUTBOUND, "app-b", service, "trade", "gray", Labels.LANE, 2), nanos);
    }

    /** As {@code discovery.proto} has it: fields by number, in the order in which they stand. */
    private static String shown(byte[] message) {
        return shown(new ProtobufReader(message), "").trim();
    }

    private static String shown(ProtobufReader in, String path) {
        StringBuilder all = new StringBuilder();
        for (int field = in.next(); field != 0; field = in.next()) {
            String here = path + "." + field;
            all.append(field);
            if (MESSAGES.contains(here)) {
                all.append('{').append(shown(in.message(), here).trim()).append('}');
            } else if (TEXTS.contains(here)) {
                all.append('=').append(in.text());
            } else if (in.isRun()) {
                ProtobufReader run = in.message();
                for (char sign = '='; !run.isAtEnd(); sign = ',') {
                    all.append(sign).append(run.number());
                }
            } else {
                all.append('=').append(in.number());
            }
            all.append(' ');
        }
        return all.toString();
    }

    @Test
    void only_what_changed_is_told_and_a_series_once() {
        request("before", MILLISECOND);
        Reports reports = new Reports(counters);
        assertNull(reports.traffic(1_000), "what was before the stream is nobody's");
        request("a", 3 * MILLISECOND);
        request("a", 900 * MILLISECOND);
        assertEquals("6{1=1000 2{1=3 2=app-b 3=a 5=trade 6=gray 7=1 8=2} 3{2=903000 3=22,1,33,1}}",
                shown(reports.traffic(1_000)));
        assertNull(reports.traffic(1_000));
        request("a", 0);
        request("a", 0);
        request("a", 3 * MILLISECOND);
        assertEquals("6{1=999 3{2=3000 3=0,2,22,1}}", shown(reports.traffic(999)));
        request("before", MILLISECOND);
        assertEquals("6{1=1000 2{1=3 2=app-b 3=before 5=trade 6=gray 7=1 8=2} 3{1=1 2=1000 3=16,1}}",
                shown(reports.traffic(1_000)), "the second series of this stream");
    }

    @Test
    void what_enters_what_is_misrouted_and_what_is_in_flight_is_told_with_its_end() {
        counters.entered("trade", "gray");
        Reports reports = new Reports(counters);
        counters.entered("trade", "gray");
        counters.entered("trade", "");
        counters.misrouted();
        LaneCalls.Lane gray = counters.laneCalls().arrived("trade", "gray");
        String told = shown(reports.traffic(1_000));
        assertEquals(true, told.contains("4{1=trade 2=gray 3=1}") && told.contains("4{1=trade 3=1}"), told);
        assertEquals(true, told.endsWith("7=1 8=1}"), told);
        counters.laneCalls().left(gray);
        assertEquals("6{1=1000}", shown(reports.traffic(1_000)));
        assertNull(reports.traffic(1_000));
    }

    @Test
    void where_lanes_are_lost_is_told_when_it_changes() {
        Reports reports = new Reports(counters);
        assertNull(reports.report());
        counters.laneCalls().arrived("trade", "gray");
        counters.laneCalls().leftOut();
        counters.laneCalls().carried("trade", "gray");
        assertEquals("4{3{1=trade 2=gray 3=1 4=1 5=1}}", shown(reports.report()));
        assertNull(reports.report());
    }
}
