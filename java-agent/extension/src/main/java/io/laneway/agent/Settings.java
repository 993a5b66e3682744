package io.laneway.agent;

import io.laneway.agent.discovery.Identity;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Locale;
import java.util.UUID;
import java.util.function.Function;

/**
 * What an operator may set, each as a system property ({@code -Dlaneway.control=…}) or in the environment
 * ({@code LANEWAY_CONTROL}), the property first. Names are those of a sidecar's settings.
 */
final class Settings {
    private final Function<String, String> properties;
    private final Function<String, String> environment;

    Settings(Function<String, String> properties, Function<String, String> environment) {
        this.properties = properties;
        this.environment = environment;
    }

    /** {@code host:port} of the control plane's discovery; empty where none is named. */
    String control() {
        return setting("control");
    }

    /** Who this process is to the control plane. */
    Identity identity() throws IOException {
        String tokenFile = setting("join.token.file");
        String token = tokenFile.isEmpty()
                ? ""
                : new String(Files.readAllBytes(Paths.get(tokenFile)), StandardCharsets.UTF_8).trim();
        String version = Settings.class.getPackage().getImplementationVersion();
        return new Identity(control(), "agent-" + UUID.randomUUID(), application(), setting("namespace"), tag(), token,
                version == null ? "" : version);
    }

    /** The application: its groups are told, and the services of their applications, before anyone asks. */
    String application() {
        return first(setting("application"), property("spring.application.name"),
                environment("SPRING_APPLICATION_NAME"), property("otel.service.name"), environment("OTEL_SERVICE_NAME"),
                "unnamed");
    }

    /** The tag of this instance, for people. */
    String tag() {
        return first(property("laneway.tag"), property("alicloud.service.tag"), environment("LANEWAY_TAG"));
    }

    private String setting(String name) {
        return first(property("laneway." + name), environment("LANEWAY_" + name.toUpperCase(Locale.ROOT).replace('.', '_')));
    }

    private String property(String name) {
        String value = properties.apply(name);
        return value == null ? "" : value.trim();
    }

    private String environment(String name) {
        String value = environment.apply(name);
        return value == null ? "" : value.trim();
    }

    private static String first(String... values) {
        for (String value : values) {
            if (!value.isEmpty()) {
                return value;
            }
        }
        return "";
    }
}
