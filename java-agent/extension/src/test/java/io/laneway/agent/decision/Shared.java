package io.laneway.agent.decision;

import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.api.baggage.propagation.W3CBaggagePropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import java.io.File;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The files that all implementations of the decision share, and how this one reads them. */
final class Shared {
    /** The folder of the crate's tests. */
    static final File FOLDER = new File(System.getProperty("laneway.shared.tests"));

    private Shared() {}

    @SuppressWarnings("unchecked")
    static Map<String, Object> map(Object value) {
        return (Map<String, Object>) value;
    }

    @SuppressWarnings("unchecked")
    static List<Map<String, Object>> list(Object value) {
        return value == null ? Collections.<Map<String, Object>>emptyList() : (List<Map<String, Object>>) value;
    }

    @SuppressWarnings("unchecked")
    static List<String> words(Object value) {
        return value == null ? Collections.<String>emptyList() : (List<String>) value;
    }

    static String text(Map<String, Object> map, String name, String otherwise) {
        return (String) map.getOrDefault(name, otherwise);
    }

    /** The lane members of a header {@code baggage} as OpenTelemetry's own code reads them: group to value. */
    static Map<String, String> carried(String header) {
        Context context = W3CBaggagePropagator.getInstance().extract(Context.root(), header, new TextMapGetter<String>() {
            @Override
            public Iterable<String> keys(String carrier) {
                return Collections.singleton("baggage");
            }

            @Override
            public String get(String carrier, String key) {
                return carrier;
            }
        });
        Map<String, String> carried = new LinkedHashMap<>();
        Baggage.fromContext(context).forEach((key, entry) -> {
            if (key.startsWith("lane.")) {
                carried.put(key.substring("lane.".length()), entry.getValue());
            }
        });
        return carried;
    }
}
