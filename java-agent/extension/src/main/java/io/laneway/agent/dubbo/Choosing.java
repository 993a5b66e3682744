package io.laneway.agent.dubbo;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.bridge.Router;
import io.opentelemetry.api.baggage.Baggage;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.WeakHashMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.dubbo.common.URL;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.cluster.Directory;
import org.apache.dubbo.rpc.cluster.directory.StaticDirectory;

/**
 * Whom a call of Dubbo may go to. It is put beside an application's own classes: it sees Dubbo and the bridge, and
 * nothing else of the agent. Whatever fails here leaves Dubbo's own choice.
 */
public final class Choosing {
    private static final String ADAPTER = "dubbo";
    private static final String PREFIX = "lane.";
    /** Where registrations say their tags. */
    private static final String[] TAGS = {"laneway.io/tag", "alicloud.service.tag"};

    /** By directory. Held weakly, for what it has may hold the directory. */
    private static final Map<Directory<?>, WeakReference<Offered>> OFFERED = Collections.synchronizedMap(new WeakHashMap<>());

    private Choosing() {}

    /**
     * {@code invokers}: what Dubbo's own routers have left of the directory's. Those are preferred; where they have left
     * none that the lane may have, the lane decides (semantics §13).
     */
    public static List<Invoker<?>> allowed(Directory<?> directory, List<Invoker<?>> invokers) {
        Router router = Bridge.router();
        if (router == null || invokers == null) {
            return invokers;
        }
        try {
            List<Invoker<?>> all = all(directory, invokers);
            if (all.isEmpty()) {
                return invokers;
            }
            Offered offered = offered(directory, all);
            return offered.isChosenElsewhere ? invokers : allowed(router, offered, invokers);
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return invokers;
        }
    }

    /** Clusters of clusters, of which each chooses; and addresses that the application has named itself, not a registry. */
    private static boolean isChosenElsewhere(Directory<?> directory, List<Invoker<?>> all) {
        Invoker<?> first = all.get(0);
        return isCluster(first.getClass()) || directory instanceof StaticDirectory && application(first.getUrl()).isEmpty();
    }

    /** By name: what clusters have in common is not in all of 2.7. */
    private static boolean isCluster(Class<?> type) {
        for (Class<?> at = type; at != null; at = at.getSuperclass()) {
            if (at.getSimpleName().endsWith("ClusterInvoker")) {
                return true;
            }
            for (Class<?> one : at.getInterfaces()) {
                if (isCluster(one)) {
                    return true;
                }
            }
        }
        return false;
    }

    /** What a directory last had is not looked at again while it has the very same. */
    private static Offered offered(Directory<?> directory, List<Invoker<?>> all) {
        WeakReference<Offered> last = OFFERED.get(directory);
        Offered known = last == null ? null : last.get();
        if (known != null && known.isOf(all)) {
            return known;
        }
        Offered fresh = new Offered(all, isChosenElsewhere(directory, all));
        OFFERED.put(directory, new WeakReference<>(fresh));
        return fresh;
    }

    /** What a directory has, as the agent is asked of it. */
    private static final class Offered {
        final boolean isChosenElsewhere;
        final List<Part> parts = new ArrayList<>();
        private final List<Invoker<?>> all;

        Offered(List<Invoker<?>> all, boolean isChosenElsewhere) {
            this.all = all;
            this.isChosenElsewhere = isChosenElsewhere;
            if (isChosenElsewhere) {
                return;
            }
            Map<List<String>, List<Instance>> registered = new LinkedHashMap<>();
            for (Invoker<?> invoker : all) {
                URL url = invoker.getUrl();
                Instance instance = new Instance(url.getHost(), url.getPort(), metadata(url), invoker);
                registered.computeIfAbsent(names(url), names -> new ArrayList<>()).add(instance);
            }
            registered.forEach((names, instances) -> parts.add(new Part(names.toArray(new String[0]), instances)));
        }

        boolean isOf(List<Invoker<?>> others) {
            if (others.size() != all.size()) {
                return false;
            }
            for (int at = 0; at < others.size(); at++) {
                if (others.get(at) != all.get(at)) {
                    return false;
                }
            }
            return true;
        }
    }

    /** Those of one application, version and group, by the names that they may be registered by. */
    private static final class Part {
        final String[] names;
        final List<Instance> instances;
        final AtomicReference<Object> memo = new AtomicReference<>();

        Part(String[] names, List<Instance> instances) {
            this.names = names;
            this.instances = instances;
        }
    }

    /** Of several applications, versions or groups that offer an interface each is decided by itself. */
    private static List<Invoker<?>> allowed(Router router, Offered offered, List<Invoker<?>> routed) throws ExecutionException {
        waitFor(router, offered.parts);
        Map<String, String> carried = carried();
        List<Invoker<?>> found = new ArrayList<>(offered.all.size());
        for (Part part : offered.parts) {
            for (Instance one : router.among(part.names, part.instances, Choosing::isAvailable, carried, part.memo)) {
                found.add((Invoker<?>) one.known);
            }
        }
        if (offered.isOf(routed)) {
            return found;
        }
        Set<Invoker<?>> left = Collections.newSetFromMap(new IdentityHashMap<>());
        left.addAll(routed);
        List<Invoker<?>> foundRouted = new ArrayList<>(found);
        foundRouted.removeIf(invoker -> !left.contains(invoker));
        return foundRouted.isEmpty() ? found : foundRouted;
    }

    private static boolean isAvailable(Instance instance) {
        return ((Invoker<?>) instance.known).isAvailable();
    }

    /** Until it is known what these names mean, which the agent ends in time; not on a thread that has others' calls to serve. */
    private static void waitFor(Router router, List<Part> all) throws ExecutionException {
        List<CompletableFuture<Void>> answers = new ArrayList<>();
        for (Part part : all) {
            for (String name : part.names) {
                CompletableFuture<Void> answer = router.ready(name);
                if (answer != null) {
                    answers.add(answer);
                }
            }
        }
        if (answers.isEmpty() || isEventLoop(Thread.currentThread().getClass())) {
            return;
        }
        try {
            CompletableFuture.allOf(answers.toArray(new CompletableFuture<?>[0])).get();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static boolean isEventLoop(Class<?> thread) {
        for (Class<?> at = thread; at != null; at = at.getSuperclass()) {
            for (Class<?> one : at.getInterfaces()) {
                if (one.getName().equals("reactor.core.scheduler.NonBlocking")) {
                    return true;
                }
            }
        }
        return false;
    }

    private static Map<String, String> carried() {
        Map<String, String> carried = new HashMap<>();
        Baggage.current().forEach((key, entry) -> {
            if (key.startsWith(PREFIX)) {
                carried.put(key.substring(PREFIX.length()), entry.getValue());
            }
        });
        return carried;
    }

    /** All that the registry has, whatever Dubbo's own routers say; before 2.7.8 nobody tells that. */
    private static List<Invoker<?>> all(Directory<?> directory, List<Invoker<?>> routed) {
        try {
            List<? extends Invoker<?>> all = directory.getAllInvokers();
            return all == null || all.isEmpty() ? routed : new ArrayList<>(all);
        } catch (NoSuchMethodError older) {
            return routed;
        }
    }

    /**
     * What the callee is registered as in Nacos, the first that is known: its interface, or its application. Of instances
     * that are registered by application Dubbo does not say the interface's registration.
     */
    private static List<String> names(URL url) {
        String named = application(url);
        if (url.getClass().getSimpleName().endsWith("InstanceAddressURL")) {
            return Collections.singletonList(named);
        }
        String registered = "providers:" + url.getServiceInterface() + ":" + part(url, "version") + ":" + part(url, "group");
        return named.isEmpty() ? Collections.singletonList(registered) : Arrays.asList(registered, named);
    }

    private static String application(URL url) {
        return part(url, "remote.application");
    }

    private static String part(URL url, String key) {
        String value = url.getParameter(key);
        return value == null ? "" : value;
    }

    private static Map<String, String> metadata(URL url) {
        Map<String, String> metadata = new HashMap<>();
        for (String key : TAGS) {
            String value = url.getParameter(key);
            if (value != null) {
                metadata.put(key, value);
            }
        }
        return metadata;
    }
}
