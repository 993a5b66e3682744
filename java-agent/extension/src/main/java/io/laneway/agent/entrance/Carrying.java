package io.laneway.agent.entrance;

import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.context.propagation.TextMapPropagator;
import io.opentelemetry.context.propagation.TextMapSetter;
import java.util.Collection;

/** A propagator as it is, which also notes what it has read the context of a request from. */
public final class Carrying implements TextMapPropagator {
    private final TextMapPropagator propagator;

    private Carrying(TextMapPropagator propagator) {
        this.propagator = propagator;
    }

    /** Of the propagators only that of baggage: after it there is a context to decide on. */
    public static TextMapPropagator of(TextMapPropagator propagator) {
        return propagator.fields().contains("baggage") ? new Carrying(propagator) : propagator;
    }

    @Override
    public Collection<String> fields() {
        return propagator.fields();
    }

    @Override
    public <C> void inject(Context context, C carrier, TextMapSetter<C> setter) {
        propagator.inject(context, carrier, setter);
    }

    @Override
    public <C> Context extract(Context context, C carrier, TextMapGetter<C> getter) {
        Context extracted = propagator.extract(context, carrier, getter);
        return carrier == null || getter == null || Entrance.installed() == null
                ? extracted
                : extracted.with(Received.KEY, Received.from(carrier, getter));
    }
}
