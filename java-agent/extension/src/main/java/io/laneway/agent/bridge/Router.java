package io.laneway.agent.bridge;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Predicate;

/**
 * What adapters within an application ask the agent. Of types that both see: an application's classes cannot see the
 * agent's, and the agent's not the application's.
 */
public interface Router {
    /**
     * {@code null} where all is known that is needed to choose among the instances of a service; otherwise what completes
     * when that is so, or when it is not worth waiting for any longer.
     */
    CompletableFuture<Void> ready(String service);

    /**
     * Instances that may serve a call.
     *
     * @param registered those that the application knows
     * @param carried the lane members of the request's baggage: group to value
     * @param memo where the agent keeps what it has found out of this very list; empty at first
     * @return some of those, and some that only the control plane knows
     */
    Allowed allowed(String service, List<Instance> registered, Map<String, String> carried, AtomicReference<Object> memo);

    /**
     * Instances that may serve a call which can go nowhere but where the application has a connection to.
     *
     * @param services what the callee may be registered as: the first that is known counts
     * @param registered those that the application knows
     * @param isAvailable to whom there is a connection now; others are called where all are such
     * @param carried the lane members of the request's baggage: group to value
     * @param memo where the agent keeps what it has found out of this very list; empty at first
     * @return some of those; empty where nobody may
     */
    List<Instance> among(String[] services, List<Instance> registered, Predicate<Instance> isAvailable,
            Map<String, String> carried, AtomicReference<Object> memo);

    /** A call begins to an instance at this address; {@code null} where it is counted elsewhere, or the callee is not known. */
    Awaited calling(String host, int port);

    /** This application begins to serve what it is called for; {@code null} where that is counted elsewhere. */
    Awaited serving();

    /**
     * What a registration of this process says: {@code metadata} of the application's own, completed by the tag and the
     * application that the process is started with. The same object where nothing is added.
     */
    Map<String, String> registration(Map<String, String> metadata);

    /** What the caller is told of the request that is being served, where no lane leads it here; {@code null} where one does. */
    Refusal refusal();

    /** An adapter has failed; the application goes on as without it. */
    void failed(String adapter, Throwable error);
}
