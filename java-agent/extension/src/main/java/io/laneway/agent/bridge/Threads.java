package io.laneway.agent.bridge;

/** Where the JVM's own classes say what becomes of threads. */
public final class Threads {
    private static volatile ThreadWatcher watcher;

    private Threads() {}

    /** From here on this one is told. */
    public static void install(ThreadWatcher installed) {
        watcher = installed;
    }

    /** A thread is started, by the current one. */
    public static void starting(Thread thread) {
        ThreadWatcher told = watcher;
        if (told != null) {
            told.starting(thread);
        }
    }

    /** The current thread looks for work in a queue. */
    public static void waiting() {
        ThreadWatcher told = watcher;
        if (told != null) {
            told.waiting();
        }
    }
}
