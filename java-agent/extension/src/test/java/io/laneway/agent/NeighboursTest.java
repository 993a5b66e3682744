package io.laneway.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.jar.Attributes;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NeighboursTest {
    private static final String SKYWALKING = "org.apache.skywalking.apm.agent.SkyWalkingAgent";
    private static final String OPENTELEMETRY = "io.opentelemetry.javaagent.OpenTelemetryAgent";
    private static final String OURS = "io.laneway.agent.Premain";

    @TempDir
    Path folder;

    /** The flag that starts an agent of this class, out of a jar whose name says nothing. */
    private String agent(String name, String premain) throws IOException {
        Manifest manifest = new Manifest();
        manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
        manifest.getMainAttributes().put(new Attributes.Name("Premain-Class"), premain);
        Path jar = folder.resolve(name);
        new JarOutputStream(Files.newOutputStream(jar), manifest).close();
        return "-javaagent:" + jar;
    }

    private static List<String> warnings(String... arguments) {
        return Neighbours.warnings(Arrays.asList(arguments));
    }

    @Test
    void skywalking_is_to_start_after_us() throws IOException {
        String skywalking = agent("s.jar", SKYWALKING) + "=agent.service_name=a";
        String laneway = agent("l.jar", OURS);
        assertEquals(Collections.emptyList(), warnings("-Xmx1g", laneway, skywalking));
        List<String> said = warnings(skywalking, laneway);
        assertTrue(said.size() == 1 && said.get(0).contains("s.jar) starts before this one"), said::toString);
        // As an extension of somebody's own agent.
        assertEquals(Collections.emptyList(), warnings(agent("o.jar", OPENTELEMETRY), skywalking));
    }

    @Test
    void two_agents_of_opentelemetry_are_told() throws IOException {
        List<String> said = warnings(agent("l.jar", OURS), agent("o.jar", OPENTELEMETRY));
        assertTrue(said.size() == 1 && said.get(0).contains("o.jar), of which the first alone does anything"), said::toString);
        assertEquals(Collections.emptyList(), warnings(agent("l.jar", OURS)));
        // What is no agent, or cannot be read, says nothing.
        assertEquals(Collections.emptyList(), warnings("-javaagent:/nowhere.jar", "-javaagent:", "-jar"));
    }

    @Test
    void where_one_of_opentelemetrys_is_there_already_ours_does_not_start() throws IOException {
        URL own = new URL("file:/opt/laneway-agent.jar");
        String agent = "!/io/opentelemetry/javaagent/OpenTelemetryAgent.class";
        assertNull(Premain.refusal(own, new URL("jar:file:/opt/laneway-agent.jar" + agent)));
        String refusal = Premain.refusal(own, new URL("jar:file:/opt/opentelemetry-javaagent.jar" + agent));
        assertTrue(refusal.contains("/opt/opentelemetry-javaagent.jar!") && refusal.contains("-Dotel.javaagent.extensions="), refusal);
    }
}
