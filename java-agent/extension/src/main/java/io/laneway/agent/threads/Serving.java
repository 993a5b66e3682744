package io.laneway.agent.threads;

import io.opentelemetry.context.Context;
import io.opentelemetry.context.ContextKey;

/** A request that is being served, or has been. */
public final class Serving {
    private static final ContextKey<Serving> KEY = ContextKey.named("laneway-serving");
    private static final long NOT_YET = Long.MIN_VALUE;

    private volatile long endedAt = NOT_YET;

    private Serving() {}

    /** A context in which a request begins to be served. */
    public static Context begin(Context context) {
        return context.with(KEY, new Serving());
    }

    /** The request of this context has been answered, or never will be. {@code now}: nanoseconds of any clock that only goes on. */
    public static void end(Context context, long now) {
        Serving serving = context.get(KEY);
        if (serving != null) {
            serving.endedAt = now;
        }
    }

    /**
     * For how many nanoseconds what a context is about has been over. Of one that is no request's nobody says when it ends:
     * since {@code startedAt}.
     */
    static long overFor(Context context, long startedAt, long now) {
        Serving serving = context.get(KEY);
        long since = serving == null ? startedAt : serving.endedAt;
        return serving != null && since == NOT_YET ? 0 : now - since;
    }
}
