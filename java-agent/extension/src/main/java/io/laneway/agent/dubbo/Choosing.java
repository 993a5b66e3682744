package io.laneway.agent.dubbo;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.bridge.Router;
import io.opentelemetry.api.baggage.Baggage;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
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
            return all.isEmpty() || isChosenElsewhere(directory, all) ? invokers : allowed(router, all, invokers);
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

    /** Of several applications, versions or groups that offer an interface each is decided by itself. */
    private static List<Invoker<?>> allowed(Router router, List<Invoker<?>> all, List<Invoker<?>> routed)
            throws ExecutionException {
        Map<List<String>, List<Instance>> registered = new LinkedHashMap<>();
        for (Invoker<?> invoker : all) {
            URL url = invoker.getUrl();
            Instance instance = new Instance(url.getHost(), url.getPort(), metadata(url), invoker);
            registered.computeIfAbsent(names(url), names -> new ArrayList<>()).add(instance);
        }
        waitFor(router, registered.keySet());
        Map<String, String> carried = carried();
        List<Invoker<?>> found = new ArrayList<>();
        registered.forEach((names, instances) -> {
            for (Instance one : router.among(names.toArray(new String[0]), instances, Choosing::isAvailable, carried)) {
                found.add((Invoker<?>) one.known);
            }
        });
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
    private static void waitFor(Router router, Set<List<String>> all) throws ExecutionException {
        List<CompletableFuture<Void>> answers = new ArrayList<>();
        for (List<String> names : all) {
            for (String name : names) {
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
