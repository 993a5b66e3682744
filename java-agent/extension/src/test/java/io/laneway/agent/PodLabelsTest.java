package io.laneway.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PodLabelsTest {
    private static Settings settings(Path labels, String... properties) {
        Map<String, String> all = new HashMap<>();
        all.put("laneway.pod.labels.file", labels.toString());
        for (int at = 0; at < properties.length; at += 2) {
            all.put(properties[at], properties[at + 1]);
        }
        return new Settings(all::get, name -> null);
    }

    @Test
    void labels_are_read_as_kubernetes_writes_them() {
        Map<String, String> expected = new HashMap<>();
        expected.put("app", "shop");
        expected.put("laneway.io/tag", "gray");
        expected.put("empty", "");
        assertEquals(expected, PodLabels.parse("app=\"shop\"\nlaneway.io/tag=\"gray\"\nempty=\"\"\n\nno label"));
    }

    @Test
    void they_name_the_tag_and_the_application_where_no_flag_does(@TempDir Path folder) throws IOException {
        Path labels = folder.resolve("labels");
        String written = "alicloud.service.tag=\"gray\"\nmsePilotCreateAppName=\"shop\"\n";
        Files.write(labels, written.getBytes(StandardCharsets.UTF_8));
        assertEquals("gray", settings(labels).tag());
        assertEquals("shop", settings(labels).application());
        assertEquals("blue", settings(labels, "laneway.tag", "blue").tag());
        assertEquals("mine", settings(labels, "laneway.application", "mine").application());
    }

    @Test
    void a_process_in_no_pod_has_none(@TempDir Path folder) throws IOException {
        assertEquals(Collections.emptyMap(), PodLabels.read(folder.resolve("nothing")));
        assertEquals(Collections.emptyMap(), PodLabels.read(folder));
        Path large = folder.resolve("large");
        Files.write(large, new byte[1024 * 1024]);
        assertTrue(PodLabels.read(large).isEmpty());
    }
}
