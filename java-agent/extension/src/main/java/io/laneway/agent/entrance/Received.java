package io.laneway.agent.entrance;

import io.laneway.agent.decision.Addresses;
import io.laneway.agent.decision.Paths;
import io.laneway.agent.decision.Request;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.context.ContextKey;
import io.opentelemetry.context.propagation.TextMapGetter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;

/**
 * A request of HTTP as OpenTelemetry's agent receives it, from whichever server: its fields by what it reads context from,
 * the rest by the attributes of its span. Looked at only where a rule asks.
 */
final class Received implements Request {
    /** Where it is from the moment its context is read until its lane is decided. */
    static final ContextKey<Received> KEY = ContextKey.named("laneway-received");
    /** Of a request that is decided. */
    static final Received NOTHING = new Received(Collections.<String>emptyList(), name -> Collections.emptyIterator(), null);
    static final AttributeKey<String> PATH = AttributeKey.stringKey("url.path");

    private static final AttributeKey<String> QUERY = AttributeKey.stringKey("url.query");
    private static final AttributeKey<String> METHOD = AttributeKey.stringKey("http.request.method");
    private static final AttributeKey<String> ORIGINAL_METHOD = AttributeKey.stringKey("http.request.method_original");
    private static final AttributeKey<String> CLIENT = AttributeKey.stringKey("client.address");
    /** What a member of {@code Via} that names a proxy of Laneway begins with. */
    private static final String PROXY = "1.1 laneway-";
    /** Letters of a path that are shown. */
    private static final int SHOWN_MAX = 100;
    /** Of a client that is not known. */
    private static final byte[] NOBODY = new byte[4];

    private final Iterable<String> names;
    private final Fields fields;
    private final Attributes attributes;

    /** The values of a field. */
    private interface Fields {
        Iterator<String> of(String name);
    }

    private Received(Iterable<String> names, Fields fields, Attributes attributes) {
        this.names = names;
        this.fields = fields;
        this.attributes = attributes;
    }

    static <C> Received from(C carrier, TextMapGetter<C> getter) {
        return new Received(() -> getter.keys(carrier).iterator(), name -> getter.getAll(carrier, name), null);
    }

    Received with(Attributes known) {
        return new Received(names, fields, known);
    }

    /** Whether its caller, or somebody before, began a trace: gateways, sidecars and agents do. */
    boolean isTraced() {
        return fields.of("traceparent").hasNext();
    }

    /** Whether a proxy of Laneway has sent it: the last that it has passed names itself so. */
    boolean isOfProxy() {
        String last = "";
        for (Iterator<String> values = fields.of("via"); values.hasNext();) {
            last = values.next();
        }
        return last.substring(last.lastIndexOf(',') + 1).trim().startsWith(PROXY);
    }

    /** For people. */
    String shown() {
        String path = attribute(PATH);
        return method() + " " + (path.length() > SHOWN_MAX ? path.substring(0, SHOWN_MAX) + "…" : path) + " from " + attribute(CLIENT);
    }

    private String attribute(AttributeKey<String> key) {
        String value = attributes.get(key);
        return value == null ? "" : value;
    }

    @Override
    public String method() {
        String original = attribute(ORIGINAL_METHOD);
        return original.isEmpty() ? attribute(METHOD) : original;
    }

    /** What the caller wrote; a span has what proxies before it say. */
    @Override
    public String host() {
        Iterator<String> hosts = fields.of("host");
        String host = hosts.hasNext() ? hosts.next().trim().toLowerCase(Locale.ROOT) : "";
        int colon = host.lastIndexOf(':');
        return colon > host.lastIndexOf(']') ? host.substring(0, colon) : host;
    }

    @Override
    public String path() {
        return Paths.normalised(attribute(PATH));
    }

    @Override
    public String query() {
        return attribute(QUERY);
    }

    @Override
    public byte[] clientIp() {
        byte[] address = Addresses.parse(attribute(CLIENT));
        return address == null ? NOBODY : address;
    }

    @Override
    public List<String[]> headers() {
        List<String[]> headers = new ArrayList<>();
        for (String name : names) {
            for (Iterator<String> values = fields.of(name); values.hasNext();) {
                headers.add(new String[] {name, values.next()});
            }
        }
        return headers;
    }

    /** Who called is not authenticated here. */
    @Override
    public String claim(String name) {
        return null;
    }
}
