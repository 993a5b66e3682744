package io.laneway.agent;

import io.laneway.agent.entrance.Carrying;
import io.laneway.agent.threads.Storage;
import io.opentelemetry.context.ContextStorage;
import io.opentelemetry.sdk.autoconfigure.spi.AutoConfigurationCustomizer;
import io.opentelemetry.sdk.autoconfigure.spi.AutoConfigurationCustomizerProvider;
import java.io.IOException;
import java.io.InputStream;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;

/**
 * What OpenTelemetry's agent does where nobody has said otherwise: in the one jar with the agent inside it exports
 * nothing. Beside somebody's own agent there is no such file, and nothing of theirs changes.
 */
public final class Defaults implements AutoConfigurationCustomizerProvider {
    @Override
    public void customize(AutoConfigurationCustomizer customizer) {
        customizer.addPropertiesSupplier(Defaults::read);
        customizer.addPropagatorCustomizer((propagator, unused) -> Carrying.of(propagator));
        // Before the first context is asked for: afterwards it would be too late.
        ContextStorage.addWrapper(Storage::over);
    }

    private static Map<String, String> read() {
        Map<String, String> defaults = new HashMap<>();
        try (InputStream in = ClassLoader.getSystemResourceAsStream("laneway-agent.properties")) {
            if (in != null) {
                Properties properties = new Properties();
                properties.load(in);
                properties.stringPropertyNames().forEach(name -> defaults.put(name, properties.getProperty(name)));
            }
        } catch (IOException unreadable) {
            // OpenTelemetry's own defaults hold.
        }
        return defaults;
    }
}
