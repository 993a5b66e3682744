package io.laneway.agent.routing;

import io.laneway.agent.bridge.Allowed;
import io.laneway.agent.bridge.Awaited;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.bridge.Refusal;
import io.laneway.agent.bridge.Router;
import io.laneway.agent.discovery.View;
import io.laneway.agent.statistics.Counters;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Predicate;

/** As one that follows a control plane, whose latest picture this is. */
final class Following implements Router {
    volatile View view;
    private final LaneRouter router = new LaneRouter(null, new Registration("", ""), new Counters(), text -> { });

    Following(View view) {
        this.view = view;
    }

    @Override
    public CompletableFuture<Void> ready(String service) {
        return null;
    }

    @Override
    public Allowed allowed(String service, List<Instance> registered, Map<String, String> carried, AtomicReference<Object> memo) {
        return router.allowed(view, service, registered, carried, memo);
    }

    @Override
    public List<Instance> among(String[] services, List<Instance> registered, Predicate<Instance> isAvailable,
            Map<String, String> carried, AtomicReference<Object> memo) {
        return router.among(view, services, registered, isAvailable, carried, memo);
    }

    @Override
    public Map<String, String> registration(Map<String, String> metadata) {
        return metadata;
    }

    @Override
    public Awaited calling(String host, int port) {
        return null;
    }

    @Override
    public Awaited serving() {
        return null;
    }

    @Override
    public Refusal refusal() {
        return null;
    }

    @Override
    public void failed(String adapter, Throwable error) {
        throw new IllegalStateException(error);
    }
}
