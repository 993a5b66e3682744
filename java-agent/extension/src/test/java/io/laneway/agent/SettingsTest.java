package io.laneway.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Instance;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

class SettingsTest {
    private static Settings settings(String... properties) {
        Map<String, String> all = new HashMap<>();
        for (int at = 0; at < properties.length; at += 2) {
            all.put(properties[at], properties[at + 1]);
        }
        return new Settings(all::get, name -> null);
    }

    /** What is said to it goes into {@code said}. */
    private static Logger told(List<String> said) {
        Logger logger = Logger.getAnonymousLogger();
        logger.setUseParentHandlers(false);
        logger.addHandler(new Handler() {
            @Override
            public void publish(LogRecord record) {
                said.add(record.getLevel() + " " + record.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        });
        return logger;
    }

    private static String refusal(String... properties) {
        return assertThrows(IllegalArgumentException.class, () -> settings(properties).identity()).getMessage();
    }

    @Test
    void what_is_wrong_is_told_by_its_setting() {
        for (String wrong : new String[] {"http://10.0.0.1:7601", "10.0.0.1", "10.0.0.1:", ":7601", "a:b"}) {
            assertEquals("laneway.control is `" + wrong + "`, which is no HOST:PORT", refusal("laneway.control", wrong));
        }
        for (String right : new String[] {"10.0.0.1:7601", "control.example:7601", "[::1]:7601"}) {
            settings("laneway.control", right).identity();
        }
        String message = refusal("laneway.control", "a:1", "laneway.join.token.file", "/nowhere/token");
        assertTrue(message.startsWith("laneway.join.token.file: `/nowhere/token` cannot be read ("), message);
    }

    @Test
    void beside_a_sidecar_nothing_is_followed_and_registrations_say_the_tag() {
        List<String> said = new ArrayList<>();
        // A control plane that is no address would be told, were it asked.
        Agent.start(settings("laneway.routing", "off", "laneway.control", "a:1", "laneway.join.token.file", "/nowhere/token", "laneway.tag",
                "gray", "laneway.threads", "off"), told(said));
        try {
            assertEquals("gray", Bridge.router().registration(Collections.<String, String>emptyMap()).get("laneway.io/tag"));
        } finally {
            Bridge.install(null);
        }
        assertEquals(1, said.size(), said::toString);
        assertTrue(said.get(0).startsWith("INFO laneway: routing is off: a sidecar beside this process"), said::toString);
    }

    @Test
    void where_settings_are_wrong_the_base_reaches_no_tagged_instance_all_the_same() {
        List<String> said = new ArrayList<>();
        Logger logger = told(said);
        // Threads of other tests are theirs.
        Agent.start(settings("laneway.threads", "off", "laneway.control", "a:1", "laneway.join.token.file", "/nowhere/token",
                "laneway.tag", "gray"), logger);
        try {
            List<Instance> registered = Arrays.asList(
                    new Instance("10.0.0.1", 80, Collections.<String, String>emptyMap(), "base"),
                    new Instance("10.0.0.2", 80, Collections.singletonMap("laneway.io/tag", "gray"), "gray"));
            assertEquals(registered.subList(0, 1), Bridge.router()
                    .allowed("sc-b", registered, Collections.<String, String>emptyMap(), new AtomicReference<>()).instances);
            assertEquals(Collections.singletonMap("laneway.io/tag", "gray"),
                    Bridge.router().registration(Collections.<String, String>emptyMap()));
        } finally {
            Bridge.install(null);
        }
        assertEquals(2, said.size(), said::toString);
        assertTrue(said.get(0).startsWith("WARNING laneway: no application is named"), said::toString);
        assertTrue(said.get(1).startsWith("SEVERE laneway: laneway.join.token.file"), said::toString);
    }

    @Test
    void an_agent_is_told_apart_and_is_the_same_when_its_container_is_restarted() {
        Machine machine = new Machine("boot", "a-host", "7");
        assertEquals("a-host, process 7", machine.shown());
        assertEquals(machine.node("app-a", "8080"), new Machine("boot", "a-host", "7").node("app-a", "8080"));
        for (String other : new String[] {
            new Machine("other", "a-host", "7").node("app-a", "8080"), new Machine("boot", "b-host", "7").node("app-a", "8080"),
            new Machine("boot", "a-host", "8").node("app-a", "8080"), machine.node("app-b", "8080"), machine.node("app-a", "8081"),
        }) {
            assertNotEquals(machine.node("app-a", "8080"), other);
        }
        Machine unknown = new Machine("", "", "");
        assertEquals("", unknown.shown());
        assertNotEquals(unknown.node("app-a"), unknown.node("app-a"));
    }

    @Test
    void a_switch_that_is_neither_on_nor_off_is_as_it_usually_is_and_that_is_said() {
        List<String> said = new ArrayList<>();
        for (boolean usually : new boolean[] {true, false}) {
            assertEquals(usually, settings().isOn("edge", usually, said::add));
            assertTrue(settings("laneway.edge", "on").isOn("edge", usually, said::add));
            assertFalse(settings("laneway.edge", "off").isOn("edge", usually, said::add));
        }
        assertEquals(Collections.emptyList(), said);
        assertTrue(settings("laneway.threads", "none").isOn("threads", true, said::add));
        assertEquals(Arrays.asList("laneway.threads is `none`, which is neither `on` nor `off`: it is taken for `on`"), said);
    }
}
