package io.laneway.agent;

import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.jar.JarFile;
import java.util.jar.Manifest;

/** Other agents in this JVM that change the same classes, whichever of them starts first, and what is to be done. */
final class Neighbours {
    private static final String FLAG = "-javaagent:";
    private static final List<String> OPENTELEMETRY =
            Arrays.asList("io.opentelemetry.javaagent.OpenTelemetryAgent", "io.laneway.agent.Premain");
    private static final String SKYWALKING = "org.apache.skywalking.apm.agent.SkyWalkingAgent";

    private Neighbours() {}

    /**
     * What is to be said of them.
     *
     * @param arguments of the JVM, those of {@code JAVA_TOOL_OPTIONS} among them
     */
    static List<String> warnings(List<String> arguments) {
        List<String> warnings = new ArrayList<>();
        List<String> opentelemetry = new ArrayList<>();
        String skywalking = "";
        boolean isSkyWalkingFirst = false;
        for (String argument : arguments) {
            if (!argument.startsWith(FLAG)) {
                continue;
            }
            String jar = jar(argument.substring(FLAG.length()));
            String agent = agent(jar);
            if (OPENTELEMETRY.contains(agent)) {
                opentelemetry.add(jar);
            } else if (agent.equals(SKYWALKING)) {
                skywalking = jar;
                isSkyWalkingFirst = opentelemetry.isEmpty();
            }
        }
        if (isSkyWalkingFirst) {
            warnings.add("SkyWalking's agent (" + skywalking + ") starts before this one, and changes classes that this one changes again: name "
                    + "the -javaagent of laneway first");
        }
        if (opentelemetry.size() > 1) {
            warnings.add("several agents of OpenTelemetry are in this JVM (" + String.join(", ", opentelemetry) + "), of which the first alone "
                    + "does anything: " + Premain.REMEDY);
        }
        return warnings;
    }

    private static String jar(String flag) {
        int options = flag.indexOf('=');
        return options < 0 ? flag : flag.substring(0, options);
    }

    /** Whose agent a jar is; nothing where that cannot be told. */
    private static String agent(String jar) {
        try (JarFile file = new JarFile(new File(jar))) {
            Manifest manifest = file.getManifest();
            String agent = manifest == null ? null : manifest.getMainAttributes().getValue("Premain-Class");
            return agent == null ? "" : agent.trim();
        } catch (IOException | RuntimeException unreadable) {
            return "";
        }
    }
}
