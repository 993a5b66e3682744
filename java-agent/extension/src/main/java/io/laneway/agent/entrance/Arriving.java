package io.laneway.agent.entrance;

import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.context.Context;
import io.opentelemetry.instrumentation.api.incubator.instrumenter.InstrumenterCustomizer;
import io.opentelemetry.instrumentation.api.incubator.instrumenter.InstrumenterCustomizer.InstrumentationType;
import io.opentelemetry.instrumentation.api.incubator.instrumenter.InstrumenterCustomizerProvider;
import java.util.logging.Level;
import java.util.logging.Logger;

/** Requests of HTTP, where OpenTelemetry's agent makes their context: whatever server it is. */
public final class Arriving implements InstrumenterCustomizerProvider {
    private static final Logger LOGGER = Logger.getLogger("io.laneway.agent");
    private static boolean isSaid;

    @Override
    public void customize(InstrumenterCustomizer customizer) {
        customizer.addContextCustomizer((context, request, attributes) -> arrived(context, attributes));
        if (customizer.hasType(InstrumentationType.HTTP_SERVER)) {
            customizer.addOperationMetrics(unused -> Counting.servers(true));
        } else if (customizer.hasType(InstrumentationType.RPC_SERVER)) {
            customizer.addOperationMetrics(unused -> Counting.servers(false));
        } else if (customizer.hasType(InstrumentationType.HTTP_CLIENT)) {
            customizer.addOperationMetrics(unused -> Counting.clients());
        }
    }

    private static Context arrived(Context context, Attributes attributes) {
        Entrance entrance = Entrance.installed();
        Received received = entrance == null ? null : context.get(Received.KEY);
        if (received == null || received == Received.NOTHING || attributes.get(Received.PATH) == null) {
            return context;
        }
        // What it was read from belongs to the server, and is not kept for as long as the context is.
        Context decided = context.with(Received.KEY, Received.NOTHING);
        try {
            return Entrance.with(decided, entrance.arrived(Baggage.fromContext(context), received.with(attributes)));
        } catch (Throwable error) {
            failed(error);
            return decided.with(entrance.undecided(Baggage.fromContext(context)));
        }
    }

    private static synchronized void failed(Throwable error) {
        if (!isSaid) {
            isSaid = true;
            LOGGER.log(Level.SEVERE, "laneway: the lane of a request that arrived could not be decided", error);
        }
    }
}
