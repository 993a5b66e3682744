package io.laneway.agent;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.UUID;

/**
 * Where this process runs, as Linux says it: to ask Java would be to ask a name server. Elsewhere nothing is known of it.
 */
final class Machine {
    private final String boot;
    private final String host;
    private final String process;

    Machine(String boot, String host, String process) {
        this.boot = boot;
        this.host = host;
        this.process = process;
    }

    /** This one. */
    static Machine here() {
        Path kernel = Paths.get("/proc/sys/kernel");
        try {
            return new Machine(line(kernel.resolve("random/boot_id")), line(kernel.resolve("hostname")),
                    Files.readSymbolicLink(Paths.get("/proc/self")).toString());
        } catch (IOException | RuntimeException unknown) {
            return new Machine("", "", "");
        }
    }

    private static String line(Path file) throws IOException {
        return new String(Files.readAllBytes(file), StandardCharsets.UTF_8).trim();
    }

    /** For people, who have to tell one agent from another; empty where nothing is known. */
    String shown() {
        return host.isEmpty() ? "" : host + ", process " + process;
    }

    /**
     * A name that no other process has, and that a container has again when it is restarted: its host and process are the
     * same then. Two containers in the network of one host differ by what they are told: their port.
     */
    String node(String... told) {
        if (host.isEmpty()) {
            return "agent-" + UUID.randomUUID();
        }
        String all = String.join("\n", boot, host, process, String.join("\n", told));
        return "agent-" + UUID.nameUUIDFromBytes(all.getBytes(StandardCharsets.UTF_8));
    }
}
