package io.laneway.agent.nacos;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import com.alibaba.nacos.api.naming.pojo.Instance;
import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.routing.LaneRouter;
import io.laneway.agent.routing.Registration;
import io.laneway.agent.statistics.Counters;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class RegisteringTest {
    @AfterEach
    void uninstall() {
        Bridge.install(null);
    }

    private static Instance instance(Map<String, String> metadata) {
        Instance instance = new Instance();
        instance.setMetadata(metadata);
        return instance;
    }

    @Test
    void instances_that_register_carry_the_tag_whatever_their_metadata_are() {
        Bridge.install(new LaneRouter(null, new Registration("gray", ""), new Counters(), text -> { }));
        Map<String, String> shared = Collections.singletonMap("zone", "a");
        Instance of = instance(shared);
        Instance without = instance(null);
        Registering.complete(Arrays.asList(of, without));
        Map<String, String> expected = new HashMap<>(shared);
        expected.put("laneway.io/tag", "gray");
        assertEquals(expected, of.getMetadata());
        assertEquals(Collections.singletonMap("laneway.io/tag", "gray"), without.getMetadata());
    }

    @Test
    void where_there_is_nothing_to_say_nothing_is_touched() {
        Map<String, String> shared = Collections.singletonMap("zone", "a");
        Instance instance = instance(shared);
        Registering.complete(instance);
        assertSame(shared, instance.getMetadata());
        Bridge.install(new LaneRouter(null, new Registration("", ""), new Counters(), text -> { }));
        Registering.complete(instance);
        assertSame(shared, instance.getMetadata());
    }
}
