package io.laneway.agent.threads;

import io.opentelemetry.context.Context;
import io.opentelemetry.context.ContextStorage;
import io.opentelemetry.context.Scope;
import java.util.function.Supplier;

/**
 * The contexts of threads as OpenTelemetry keeps them, and of a thread that has none of its own what it has inherited. It
 * names no class that knows the bridge: it is loaded before the bridge is in its place.
 */
public final class Storage implements ContextStorage {
    /** Of the current thread; {@code null} where nothing is inherited in this process. */
    private static volatile Supplier<Context> inherited;

    private final ContextStorage own;

    private Storage(ContextStorage own) {
        this.own = own;
    }

    /** Over another. */
    public static ContextStorage over(ContextStorage own) {
        return new Storage(own);
    }

    /** From here on threads inherit. {@code inherited}: {@code null} where the current thread has nothing. */
    static void install(Supplier<Context> inherited) {
        Storage.inherited = inherited;
    }

    /** Whether threads inherit in this process. */
    public static boolean isInherited() {
        return inherited != null;
    }

    @Override
    public Scope attach(Context context) {
        return own.attach(context);
    }

    @Override
    public Context current() {
        Context current = own.current();
        Supplier<Context> inheriting = current == null ? inherited : null;
        return inheriting == null ? current : inheriting.get();
    }
}
