package io.laneway.agent.dubbo;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.bridge.Router;
import io.opentelemetry.api.baggage.Baggage;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.apache.dubbo.common.URL;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.cluster.ClusterInvoker;
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
            // Addresses that the application has named itself, or clusters of clusters, of which each chooses.
            if (directory instanceof StaticDirectory || isOfClusters(invokers)) {
                return invokers;
            }
            return allowed(router, all(directory, invokers), invokers);
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return invokers;
        }
    }

    private static boolean isOfClusters(List<Invoker<?>> invokers) {
        return !invokers.isEmpty() && invokers.get(0) instanceof ClusterInvoker;
    }

    private static List<Invoker<?>> allowed(Router router, List<Invoker<?>> all, List<Invoker<?>> routed)
            throws InterruptedException, ExecutionException {
        if (all.isEmpty()) {
            return routed;
        }
        String[] names = names(all.get(0).getUrl());
        Map<String, String> carried = new HashMap<>();
        Baggage.current().forEach((key, entry) -> {
            if (key.startsWith(PREFIX)) {
                carried.put(key.substring(PREFIX.length()), entry.getValue());
            }
        });
        for (String name : names) {
            CompletableFuture<Void> ready = router.ready(name);
            if (ready != null) {
                // The agent ends it in time.
                ready.get();
            }
        }
        List<Instance> registered = new ArrayList<>(all.size());
        for (Invoker<?> invoker : all) {
            URL url = invoker.getUrl();
            registered.add(new Instance(url.getHost(), url.getPort(), metadata(url), invoker));
        }
        List<Instance> allowed = router.among(
                names, registered, one -> ((Invoker<?>) one.known).isAvailable(), carried);
        List<Invoker<?>> found = new ArrayList<>(allowed.size());
        List<Invoker<?>> foundRouted = new ArrayList<>(allowed.size());
        for (Instance one : allowed) {
            Invoker<?> invoker = (Invoker<?>) one.known;
            found.add(invoker);
            if (routed.contains(invoker)) {
                foundRouted.add(invoker);
            }
        }
        return foundRouted.isEmpty() ? found : foundRouted;
    }

    /** All that the registry has, whatever Dubbo's own routers say. */
    private static List<Invoker<?>> all(Directory<?> directory, List<Invoker<?>> routed) {
        List<? extends Invoker<?>> all = directory.getAllInvokers();
        return all == null || all.isEmpty() ? routed : new ArrayList<>(all);
    }

    /**
     * What the callee is registered as in Nacos, the first that is known: its interface, or its application. Of instances
     * that are registered by application Dubbo does not say the interface's registration.
     */
    private static String[] names(URL url) {
        String application = url.getParameter("remote.application");
        String named = application == null ? "" : application;
        if (url.getClass().getSimpleName().equals("InstanceAddressURL")) {
            return new String[] {named};
        }
        String registered = "providers:" + url.getServiceInterface() + ":" + part(url, "version") + ":" + part(url, "group");
        return named.isEmpty() ? new String[] {registered} : new String[] {registered, named};
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
