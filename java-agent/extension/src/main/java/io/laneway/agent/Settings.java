package io.laneway.agent;

import io.laneway.agent.discovery.Identity;
import io.laneway.agent.routing.Registration;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Pattern;

/**
 * What an operator may set, each as a system property ({@code -Dlaneway.control=…}) or in the environment
 * ({@code LANEWAY_CONTROL}), the property first. Names are those of a sidecar's settings.
 */
final class Settings {
    /** An application that nobody has named. */
    static final String UNNAMED = "unnamed";
    private static final String ON = "on";
    private static final String OFF = "off";
    private static final Pattern CONTROL = Pattern.compile("[^/\\s]+:[0-9]{1,5}");

    private final Function<String, String> properties;
    private final Function<String, String> environment;
    /** The pod's; {@code null} until somebody asks. */
    private Map<String, String> labels;

    Settings(Function<String, String> properties, Function<String, String> environment) {
        this.properties = properties;
        this.environment = environment;
    }

    /** {@code host:port} of the control plane's discovery; empty where none is named. */
    String control() {
        return setting("control");
    }

    /** Who this process is to the control plane. An {@link IllegalArgumentException} names a setting that is wrong. */
    Identity identity() {
        String control = control();
        if (!CONTROL.matcher(control).matches()) {
            throw new IllegalArgumentException("laneway.control is `" + control + "`, which is no HOST:PORT");
        }
        String version = Settings.class.getPackage().getImplementationVersion();
        Machine machine = Machine.here();
        String server = property("server.port") + environment("SERVER_PORT");
        return new Identity(control, machine.node(application(), tag(), server, property("sun.java.command")),
                application(), setting("namespace"), tag(), joinToken(), version == null ? "" : version, machine.shown());
    }

    private String joinToken() {
        String file = setting("join.token.file");
        try {
            return file.isEmpty() ? "" : new String(Files.readAllBytes(Paths.get(file)), StandardCharsets.UTF_8).trim();
        } catch (IOException | RuntimeException error) {
            throw new IllegalArgumentException("laneway.join.token.file: `" + file + "` cannot be read (" + error + ")", error);
        }
    }

    /** The application: its groups are told, and the services of their applications, before anyone asks. */
    String application() {
        return first(namedApplication(), property("spring.application.name"),
                environment("SPRING_APPLICATION_NAME"), property("otel.service.name"), environment("OTEL_SERVICE_NAME"),
                UNNAMED);
    }

    /** The tag of this instance. */
    String tag() {
        return first(property("laneway.tag"), property("alicloud.service.tag"), environment("LANEWAY_TAG"),
                label("laneway.io/tag"), label("alicloud.service.tag"));
    }

    /** Whether something is switched on: {@code laneway.NAME=on} or {@code off}, and otherwise {@code usually}. */
    boolean isOn(String name, boolean usually, Consumer<String> log) {
        String said = setting(name);
        if (said.equals(ON) || said.equals(OFF)) {
            return said.equals(ON);
        }
        if (!said.isEmpty()) {
            log.accept("laneway." + name + " is `" + said + "`, which is neither `" + ON + "` nor `" + OFF + "`: it is taken for `"
                    + (usually ? ON : OFF) + "`");
        }
        return usually;
    }

    /** Whether this agent chooses, refuses and counts; a sidecar beside the process does where it does not. */
    boolean isRouting(Consumer<String> log) {
        return isOn("routing", true, log);
    }

    /** What registrations are completed by: of names of the application only one that is meant as such. */
    Registration registration() {
        return new Registration(tag(), namedApplication());
    }

    private String namedApplication() {
        return first(setting("application"), label("laneway.io/application"), label("msePilotCreateAppName"));
    }

    private String label(String key) {
        if (labels == null) {
            labels = PodLabels.read(Paths.get(first(setting("pod.labels.file"), "/etc/podinfo/labels")));
        }
        return labels.getOrDefault(key, "").trim();
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
