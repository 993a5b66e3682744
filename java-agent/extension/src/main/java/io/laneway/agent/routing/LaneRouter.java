package io.laneway.agent.routing;

import io.laneway.agent.bridge.Allowed;
import io.laneway.agent.bridge.Awaited;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.bridge.Refusal;
import io.laneway.agent.bridge.Router;
import io.laneway.agent.decision.Choice;
import io.laneway.agent.decision.Hop;
import io.laneway.agent.decision.LaneContext;
import io.laneway.agent.decision.Service;
import io.laneway.agent.discovery.Follower;
import io.laneway.agent.discovery.View;
import io.laneway.agent.entrance.Counting;
import io.laneway.agent.entrance.Entrance;
import io.laneway.agent.statistics.Counters;
import io.laneway.agent.statistics.Labels;
import io.opentelemetry.context.Context;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.Predicate;

/** Which instances a call may go to: by the latest picture, or by the tags of instances where there is none. */
public final class LaneRouter implements Router {
    /** How long the first call to a service waits to learn what its name means, as long as in a sidecar. */
    private static final long READY_MILLIS = 2_000;
    /** Different things said once each; beyond it something has a new reason every time. */
    private static final int SAID_MAX = 256;
    /** The class of 503, which a caller is told where nobody may be called. */
    private static final int UNAVAILABLE = 5;

    private final Follower follower;
    private final Registration registration;
    private final Counters counters;
    private final Consumer<String> log;
    private final Set<String> said = ConcurrentHashMap.newKeySet();
    private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "laneway-timer");
        thread.setDaemon(true);
        return thread;
    });

    /** {@code follower}: {@code null} where no control plane is named. */
    public LaneRouter(Follower follower, Registration registration, Counters counters, Consumer<String> log) {
        this.counters = counters;
        this.follower = follower;
        this.registration = registration;
        this.log = log;
    }

    @Override
    public CompletableFuture<Void> ready(String service) {
        CompletableFuture<Void> answered = follower == null ? null : follower.ask(service);
        if (answered != null) {
            timer.schedule(() -> {
                follower.forget(answered);
                answered.complete(null);
            }, READY_MILLIS, TimeUnit.MILLISECONDS);
        }
        return answered;
    }

    @Override
    public Allowed allowed(String name, List<Instance> registered, Map<String, String> carried, AtomicReference<Object> memo) {
        return follower == null
                ? Known.of(registered, memo).byOwnTags(carried)
                : allowed(follower.view(), name, registered, carried, memo);
    }

    Allowed allowed(View view, String name, List<Instance> registered, Map<String, String> carried, AtomicReference<Object> memo) {
        Known known = Known.of(registered, memo);
        Service service = view.service(name.toLowerCase(Locale.ROOT));
        if (service == null) {
            return unknown(view, name, known, carried);
        }
        LaneContext context = view.policy.read(carried);
        Choice choice = view.policy.choose(context, service);
        told(view, context, service, choice);
        return known.those(service, choice);
    }

    @Override
    public List<Instance> among(String[] services, List<Instance> registered, Predicate<Instance> isAvailable,
            Map<String, String> carried, AtomicReference<Object> memo) {
        return follower == null
                ? Known.of(registered, memo).byOwnTags(carried).instances
                : among(follower.view(), services, registered, isAvailable, carried, memo);
    }

    List<Instance> among(View view, String[] names, List<Instance> registered, Predicate<Instance> isAvailable,
            Map<String, String> carried, AtomicReference<Object> memo) {
        for (String name : names) {
            Service service = view.service(name.toLowerCase(Locale.ROOT));
            if (service == null) {
                continue;
            }
            Reachable reachable = Reachable.of(service, registered, memo);
            LaneContext context = view.policy.read(carried);
            // Whom there is no connection to at all does not exist here; whose connection is broken counts as ejected.
            List<Instance> whole = reachable.all(view.policy.choose(context, reachable.connected()));
            if (!whole.isEmpty() && holds(whole, isAvailable)) {
                return whole;
            }
            Choice choice = view.policy.choose(
                    context, reachable.connected(), null, endpoint -> !reachable.isAny(endpoint, isAvailable));
            told(view, context, service, choice);
            return reachable.of(choice.endpoints, isAvailable);
        }
        for (String name : names) {
            if (!view.sources(name.toLowerCase(Locale.ROOT)).isEmpty()) {
                return unknown(view, name, Known.of(registered, memo), carried).instances;
            }
        }
        return unknown(view, names[0], Known.of(registered, memo), carried).instances;
    }

    private static boolean holds(List<Instance> all, Predicate<Instance> isAvailable) {
        for (Instance one : all) {
            if (!isAvailable.test(one)) {
                return false;
            }
        }
        return true;
    }

    /** Where nobody may be called that is counted, and said once. */
    private void told(View view, LaneContext context, Service service, Choice choice) {
        if (choice.outcome == Choice.Outcome.REFUSED) {
            Hop hop = view.policy.hop(context, service.application, null);
            counters.request(new Labels(Labels.OUTBOUND, service.application, service.name, hop.group, hop.lane, Labels.DENIED, UNAVAILABLE), 0);
            sayOnce(choice.refusal);
        }
    }

    /** A name that means no service, several, or that is not known yet. */
    private Allowed unknown(View view, String name, Known known, Map<String, String> carried) {
        String lower = name.toLowerCase(Locale.ROOT);
        List<String> sources = view.sources(lower);
        if (!sources.isEmpty()) {
            sayOnce("service " + name + " is known to several sources (" + String.join(", ", sources) + "): nobody is called");
            return known.nobody();
        }
        // A service that no control plane knows is in no group: whoever calls it is base. Of one that is not known
        // yet, its own tags say more than nothing.
        return known.byOwnTags(view.knows(lower) ? Collections.<String, String>emptyMap() : carried);
    }

    @Override
    public Map<String, String> registration(Map<String, String> metadata) {
        return registration.complete(metadata, this::sayOnce);
    }

    @Override
    public Awaited calling(String host, int port) {
        return Counting.calling(host, port);
    }

    @Override
    public Awaited serving() {
        return Counting.serving();
    }

    @Override
    public Refusal refusal() {
        return Entrance.refusal(Context.current());
    }

    @Override
    public void failed(String adapter, Throwable error) {
        sayOnce(adapter + ": " + error + "; the application goes on as without lanes");
    }

    private void sayOnce(String what) {
        if (said.size() < SAID_MAX && said.add(what)) {
            log.accept(what);
        }
    }
}
