package io.laneway.agent.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RegistrationTest {
    private final List<String> said = new ArrayList<>();

    private static Map<String, String> map(String... pairs) {
        Map<String, String> map = new HashMap<>();
        for (int at = 0; at < pairs.length; at += 2) {
            map.put(pairs[at], pairs[at + 1]);
        }
        return map;
    }

    private Map<String, String> registered(String tag, String application, String... metadata) {
        return new Registration(tag, application).complete(map(metadata), said::add);
    }

    @Test
    void a_registration_says_what_the_process_is_started_with() {
        assertEquals(map("zone", "a", "laneway.io/tag", "gray", "laneway.io/application", "shop"),
                registered("gray", "shop", "zone", "a"));
        assertEquals(map("laneway.io/tag", "gray"), registered("gray", "", "laneway.io/tag", " "));
    }

    @Test
    void of_a_process_that_is_told_nothing_it_is_the_application_s_own() {
        Map<String, String> own = Collections.singletonMap("zone", "a");
        assertSame(own, new Registration("", "").complete(own, said::add));
        Map<String, String> same = map("laneway.io/tag", "gray", "laneway.io/application", "shop");
        assertSame(same, new Registration("gray", "shop").complete(same, said::add));
    }

    @Test
    void what_the_application_says_itself_holds_and_a_difference_is_said() {
        for (String key : Arrays.asList("laneway.io/tag", "alicloud.service.tag")) {
            assertEquals(map(key, "blue"), registered("gray", "", key, "blue"));
        }
        assertEquals(2, said.size(), said::toString);
        assertEquals("this process registers with the tag `blue`, and is started with `gray`: the registration's holds", said.get(0));
        String written = "[{\"tag\":\"gray\"}]";
        assertEquals(map("__micro.service.env__", written), registered("gray", "", "__micro.service.env__", written));
        assertEquals(map("laneway.io/application", "mine"), registered("", "shop", "laneway.io/application", "mine"));
        assertEquals(2, said.size(), said::toString);
    }

    @Test
    void a_process_knows_its_tag_that_was_told_it_and_registers_with_no_other() {
        assertFalse(new Registration("", "").isTagKnown());
        for (String tag : Arrays.asList("base", "gray")) {
            Registration told = new Registration(tag, "");
            told.complete(map(), said::add);
            told.complete(map("laneway.io/tag", tag), said::add);
            assertTrue(told.isTagKnown(), tag);
            told.complete(map("laneway.io/tag", "blue"), said::add);
            assertFalse(told.isTagKnown(), tag);
        }
    }
}
