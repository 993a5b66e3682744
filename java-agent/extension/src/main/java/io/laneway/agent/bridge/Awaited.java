package io.laneway.agent.bridge;

/** Something that is being counted, and not over yet. */
public interface Awaited {
    /** It is over: with an answer of the application, be that an error, or without one. */
    void ended(Answer answer);

    /** How something ends. */
    enum Answer {
        /** As its caller wished. */
        WELL,
        /** With an error of the application's. */
        ERROR,
        /** Nobody answered. */
        NONE
    }
}
