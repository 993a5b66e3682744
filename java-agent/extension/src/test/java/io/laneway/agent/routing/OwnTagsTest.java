package io.laneway.agent.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import io.laneway.agent.bridge.Instance;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class OwnTagsTest {
    private static Instance instance(int port, String... metadata) {
        Map<String, String> all = new HashMap<>();
        for (int at = 0; at < metadata.length; at += 2) {
            all.put(metadata[at], metadata[at + 1]);
        }
        return new Instance("10.0.0.1", port, all, port);
    }

    private static void check(List<Instance> registered, Map<String, String> carried, Integer... ports) {
        List<Integer> found = new ArrayList<>();
        new OwnTags(registered).allowed(carried).instances.forEach(one -> found.add(one.port));
        assertEquals(Arrays.asList(ports), found, carried::toString);
    }

    private static Map<String, String> in(String tag) {
        return Collections.singletonMap("trade", tag);
    }

    @Test
    void a_lane_has_its_instances_and_else_the_base() {
        List<Instance> all = Arrays.asList(instance(1), instance(2, "laneway.io/tag", "gray"),
                instance(3, "alicloud.service.tag", "gray"), instance(4, "laneway.io/tag", "base"),
                instance(5, "laneway.io/tag", "no tag"));
        check(all, Collections.<String, String>emptyMap(), 1, 4);
        check(all, in("gray"), 2, 3);
        check(all, in("blue"), 1, 4);
        check(all, in("-"), 1, 4);
        check(all, in("no tag"), 1, 4);
    }

    @Test
    void the_base_reaches_nobody_where_there_is_none() {
        check(Collections.singletonList(instance(2, "laneway.io/tag", "gray")), in("blue"));
    }

    @Test
    void without_any_tag_the_list_is_the_application_s_own() {
        List<Instance> all = Arrays.asList(instance(1), instance(2));
        assertSame(all, new OwnTags(all).allowed(in("gray")).instances);
    }
}
