package io.laneway.agent;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;

/**
 * The labels of this process's pod, as Kubernetes writes them into a file (a volume of the downward API): {@code
 * key="value"}, one a line.
 */
final class PodLabels {
    /** Labels of one pod are a few kilobytes; a file far larger is no file of labels. */
    private static final int BYTES_MAX = 256 * 1024;

    private PodLabels() {}

    /** Nothing where there is no such file, or none that can be read: a process need not be in a pod. */
    static Map<String, String> read(Path file) {
        try {
            if (!Files.isRegularFile(file) || Files.size(file) > BYTES_MAX) {
                return Collections.emptyMap();
            }
            return parse(new String(Files.readAllBytes(file), StandardCharsets.UTF_8));
        } catch (IOException | RuntimeException unreadable) {
            return Collections.emptyMap();
        }
    }

    static Map<String, String> parse(String text) {
        Map<String, String> labels = new HashMap<>();
        for (String line : text.split("\n")) {
            int equals = line.indexOf('=');
            if (equals > 0) {
                labels.put(line.substring(0, equals).trim(), unquoted(line.substring(equals + 1).trim()));
            }
        }
        return labels;
    }

    /** Values of labels are plain words: of what may be escaped within quotes nothing else can stand there. */
    private static String unquoted(String value) {
        boolean isQuoted = value.length() >= 2 && value.startsWith("\"") && value.endsWith("\"");
        return isQuoted ? value.substring(1, value.length() - 1) : value;
    }
}
