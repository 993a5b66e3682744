package io.laneway.agent.bridge;

/** Who is told what becomes of threads. */
public interface ThreadWatcher {
    /** A thread is started, by the current one. */
    void starting(Thread thread);

    /** The current thread looks for work in a queue, and waits for some where there is none. */
    void waiting();
}
