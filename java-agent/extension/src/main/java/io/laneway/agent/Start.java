package io.laneway.agent;

import io.opentelemetry.javaagent.extension.AgentListener;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * Starts the agent once OpenTelemetry's has. Nothing of it can keep the application from starting. It names no class that
 * knows the bridge: it may be loaded before the bridge is in its place.
 */
public final class Start implements AgentListener {
    private static final Logger LOGGER = Logger.getLogger("io.laneway.agent");

    @Override
    public void afterAgent(AutoConfiguredOpenTelemetrySdk unused) {
        try {
            if (Bootstrap.inject()) {
                Agent.start(new Settings(System::getProperty, System::getenv), LOGGER);
            }
        } catch (Throwable error) {
            LOGGER.log(Level.SEVERE, "laneway: the agent does not start; the application goes on as without lanes; see whether it registers with its tag", error);
        }
    }
}
