package io.laneway.agent.threads;

/** Who starts a thread, or waits at a queue, by the stack: looked at only where a request's context is concerned. */
final class Callers {
    /**
     * Whose threads work for whoever comes: the JDK's own pools and timers, and libraries. OpenTelemetry's agent knows which
     * context a task of theirs has; their threads have none.
     */
    private static final String[] MAKERS = {
        "java.", "javax.", "jdk.", "sun.", "com.sun.",
        "org.apache.", "org.springframework.", "org.eclipse.jetty.", "org.jboss.", "org.xnio.", "io.undertow.", "io.netty.",
        "io.grpc.", "io.lettuce.", "io.opentelemetry.", "io.laneway.agent.", "io.micrometer.", "kotlinx.coroutines.", "com.alibaba.",
        "com.zaxxer.", "com.mysql.", "org.postgresql.", "org.mariadb.", "com.mongodb.", "com.rabbitmq.", "com.lmax.", "com.google.",
        "com.netflix.", "okhttp3.", "okio.", "org.quartz.", "org.redisson.", "software.amazon.", "com.amazonaws.", "com.azure.",
        "ch.qos.logback.",
    };
    /** Netty, wherever it has been moved to. */
    private static final String NETTY = ".netty.";
    /** Who waits at a queue for the answer to a call of its own, and goes on with its request. */
    private static final String ANSWERED_AT_QUEUE = "ThreadlessExecutor";
    /** Frames between the queue and who waits at it: the queue's own, ours, and a few. */
    private static final int NEAR = 8;

    private Callers() {}

    /** Whether the thread that is being started is a worker. */
    static boolean startsWorkers() {
        boolean isStart = false;
        for (StackTraceElement frame : new Throwable().getStackTrace()) {
            String type = frame.getClassName();
            if (isThread(type)) {
                isStart = true;
            } else if (isStart) {
                return isMaker(type);
            }
        }
        return false;
    }

    /** {@code Thread}, its builders, virtual ones. */
    private static boolean isThread(String type) {
        return type.equals("java.lang.Thread") || type.startsWith("java.lang.Thread$") || type.startsWith("java.lang.ThreadBuilders")
                || type.equals("java.lang.VirtualThread");
    }

    static boolean isMaker(String type) {
        for (String maker : MAKERS) {
            if (type.startsWith(maker)) {
                return true;
            }
        }
        return type.contains(NETTY);
    }

    /** Whether the current thread looks into a queue for an answer, not for work. */
    static boolean waitForAnswer() {
        StackTraceElement[] frames = new Throwable().getStackTrace();
        for (int at = 0; at < Math.min(NEAR, frames.length); at++) {
            if (frames[at].getClassName().endsWith(ANSWERED_AT_QUEUE)) {
                return true;
            }
        }
        return false;
    }
}
