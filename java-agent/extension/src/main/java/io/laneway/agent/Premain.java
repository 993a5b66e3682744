package io.laneway.agent;

import io.opentelemetry.javaagent.OpenTelemetryAgent;
import java.lang.instrument.Instrumentation;
import java.net.URL;
import java.security.CodeSource;

/**
 * Where {@code laneway-agent.jar} begins. Its parts are OpenTelemetry's, of which there can be one in a JVM: where another is
 * there already, that one goes on alone, and somebody is told; otherwise lanes would be missing without a word.
 */
public final class Premain {
    static final String REMEDY = "use one: the other with -Dotel.javaagent.extensions=laneway-agent-extension.jar, or laneway-agent.jar "
            + "with the other's otel.* settings";
    private static final String AGENT = "io/opentelemetry/javaagent/OpenTelemetryAgent.class";

    private Premain() {}

    /** Called by the JVM. */
    public static void premain(String options, Instrumentation instrumentation) {
        CodeSource own = Premain.class.getProtectionDomain().getCodeSource();
        String refusal = own == null ? null : refusal(own.getLocation(), ClassLoader.getSystemResource(AGENT));
        if (refusal == null) {
            OpenTelemetryAgent.premain(options, instrumentation);
        } else {
            // Nobody's logging is there yet.
            System.err.println(refusal);
        }
    }

    /** What is said instead of starting: {@code first} is what would be started, {@code own} the jar that is meant. */
    static String refusal(URL own, URL first) {
        if (first == null || first.toString().startsWith("jar:" + own + "!")) {
            return null;
        }
        return "laneway: the agent does not start, for one of OpenTelemetry's is there already (" + first + "); the application goes on as "
                + "without lanes, and registers as the base whatever its flags say: " + REMEDY;
    }
}
