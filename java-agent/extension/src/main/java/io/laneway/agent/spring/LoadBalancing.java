package io.laneway.agent.spring;

import io.laneway.agent.bridge.Allowed;
import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.bridge.Router;
import io.opentelemetry.api.baggage.Baggage;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicReference;
import org.springframework.cloud.client.DefaultServiceInstance;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.loadbalancer.DefaultResponse;
import org.springframework.cloud.client.loadbalancer.EmptyResponse;
import org.springframework.cloud.client.loadbalancer.Response;
import org.springframework.cloud.loadbalancer.core.ServiceInstanceListSupplier;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * What Spring Cloud LoadBalancer is told. It is the one class that the agent puts beside an application's own: it sees
 * Spring and the bridge, and nothing else of the agent. Whatever fails here leaves the application's own choice.
 */
public final class LoadBalancing {
    private static final String ADAPTER = "spring-cloud-loadbalancer";
    private static final String PREFIX = "lane.";
    /** Suppliers lie within one another: how many of this thread's have been answered for already. */
    private static final ThreadLocal<int[]> ANSWERED = ThreadLocal.withInitial(() -> new int[1]);

    /** By service, what a supplier last had before anything was taken from it. */
    private static final Map<String, List<ServiceInstance>> ALL = new ConcurrentHashMap<>();
    /** By service, the last list that was decided on. */
    private static final Map<String, Offered> OFFERED = new ConcurrentHashMap<>();
    /** Where registries write tags, for the one of an instance that no registry knows. */
    private static final String[] TAGS = {"laneway.io/tag", "alicloud.service.tag"};

    private LoadBalancing() {}

    /** A supplier is asked for all it has, without a request: its answer is as it was, and remembered. */
    public static Flux<List<ServiceInstance>> seen(
            ServiceInstanceListSupplier supplier, Flux<List<ServiceInstance>> instances) {
        if (Bridge.router() == null || instances == null) {
            return instances;
        }
        String service = supplier.getServiceId();
        return service == null ? instances : instances.doOnNext(list -> ALL.put(lower(service), list));
    }

    /** A supplier is asked for instances; the number is shown again when it has answered. */
    public static int asked() {
        return ANSWERED.get()[0];
    }

    /** Of the instances that a supplier has, those that this call may go to. The innermost of several does it. */
    public static Flux<List<ServiceInstance>> allowed(
            ServiceInstanceListSupplier supplier, int asked, Flux<List<ServiceInstance>> instances) {
        Router router = Bridge.router();
        if (router == null || instances == null || ANSWERED.get()[0] != asked) {
            return instances;
        }
        try {
            String service = supplier.getServiceId();
            if (service == null || service.isEmpty()) {
                return instances;
            }
            ANSWERED.get()[0]++;
            Map<String, String> carried = carried();
            CompletableFuture<Void> ready = router.ready(service);
            if (ready == null) {
                return instances.map(list -> allowed(router, service, list, carried));
            }
            // What follows is the application's: it does not run on a thread of the agent.
            return instances.concatMap(list -> Mono.fromFuture(ready)
                    .publishOn(Schedulers.boundedElastic())
                    .then(Mono.fromCallable(() -> allowed(router, service, list, carried))));
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return instances;
        }
    }

    /** The choice of a load balancer that has not asked a supplier for this call is made again where it is wrong. */
    public static Mono<Response<ServiceInstance>> checked(Mono<Response<ServiceInstance>> chosen) {
        Router router = Bridge.router();
        if (router == null || chosen == null) {
            return chosen;
        }
        try {
            Map<String, String> carried = carried();
            return chosen.map(response -> checked(router, response, carried));
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return chosen;
        }
    }

    private static Response<ServiceInstance> checked(
            Router router, Response<ServiceInstance> response, Map<String, String> carried) {
        try {
            ServiceInstance chosen = response.hasServer() ? response.getServer() : null;
            if (chosen == null || chosen.getServiceId() == null) {
                return response;
            }
            String service = chosen.getServiceId();
            List<ServiceInstance> all = ALL.getOrDefault(lower(service), Collections.emptyList());
            Shown shown = shown(router, service, offered(service, all), carried);
            // What was chosen is as a rule what was shown: whoever looks for it elsewhere looks at the whole list.
            if (shown.has(chosen)) {
                return response;
            }
            if (!all.contains(chosen)) {
                all = new ArrayList<>(all);
                all.add(chosen);
                shown = shown(router, service, new Offered(all), carried);
            }
            List<ServiceInstance> allowed = shown.instances;
            if (isAmong(allowed, chosen)) {
                return response;
            }
            return allowed.isEmpty()
                    ? new EmptyResponse()
                    : new DefaultResponse(allowed.get(ThreadLocalRandom.current().nextInt(allowed.size())));
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return response;
        }
    }

    /** Of several with one address the one that was chosen is kept. */
    private static boolean isAmong(List<ServiceInstance> allowed, ServiceInstance chosen) {
        for (ServiceInstance one : allowed) {
            if (one == chosen || one.getPort() == chosen.getPort() && Objects.equals(one.getHost(), chosen.getHost())) {
                return true;
            }
        }
        return false;
    }

    private static List<ServiceInstance> allowed(
            Router router, String service, List<ServiceInstance> list, Map<String, String> carried) {
        try {
            Shown shown = shown(router, service, offered(service, list), carried);
            // The application may do with its list what it likes.
            return shown.isWhole ? list : new ArrayList<>(shown.instances);
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return list;
        }
    }

    private static Shown shown(Router router, String service, Offered offered, Map<String, String> carried) {
        Allowed allowed = router.allowed(service, offered.registered, carried, offered.memo);
        Object made = allowed.made;
        if (made instanceof Shown) {
            return (Shown) made;
        }
        Shown fresh = new Shown(service, offered, allowed);
        allowed.made = fresh;
        return fresh;
    }

    /** What is allowed, as the application knows it. Never changed: calls at once are shown the same. */
    private static final class Shown {
        final List<ServiceInstance> instances;
        /** All that was offered, in its order. */
        final boolean isWhole;
        private final Set<ServiceInstance> same = Collections.newSetFromMap(new IdentityHashMap<>());

        Shown(String service, Offered offered, Allowed allowed) {
            isWhole = allowed.instances == offered.registered;
            instances = new ArrayList<>(allowed.instances.size());
            for (Instance one : allowed.instances) {
                instances.add(one.known != null ? (ServiceInstance) one.known : added(service, one, offered.registered));
            }
            same.addAll(instances);
        }

        /** Whether it is one of these very objects. */
        boolean has(ServiceInstance chosen) {
            return same.contains(chosen);
        }
    }

    /** What a list has, as the agent is asked of it. */
    private static final class Offered {
        final List<Instance> registered;
        final AtomicReference<Object> memo = new AtomicReference<>();

        Offered(List<ServiceInstance> list) {
            registered = new ArrayList<>(list.size());
            for (ServiceInstance one : list) {
                Map<String, String> metadata = one.getMetadata();
                registered.add(new Instance(one.getHost(), one.getPort(),
                        metadata == null ? Collections.<String, String>emptyMap() : metadata, one));
            }
        }

        /** Lists are made anew more often than what is in them. */
        boolean isOf(List<ServiceInstance> list) {
            if (list.size() != registered.size()) {
                return false;
            }
            int at = 0;
            for (ServiceInstance one : list) {
                if (registered.get(at++).known != one) {
                    return false;
                }
            }
            return true;
        }
    }

    /** What a service last offered is not looked at again while it offers the very same. */
    private static Offered offered(String service, List<ServiceInstance> list) {
        Offered last = OFFERED.get(service);
        if (last != null && last.isOf(list)) {
            return last;
        }
        Offered fresh = new Offered(list);
        OFFERED.put(service, fresh);
        return fresh;
    }

    /**
     * One that the application's registry does not know yet. It is spoken to as its peers are; load balancers of a
     * registry's own (Nacos's) want its class, and weights and clusters in its metadata.
     */
    private static ServiceInstance added(String service, Instance one, List<Instance> peers) {
        String id = service + ":" + one.host + ":" + one.port;
        Map<String, String> metadata = new HashMap<>();
        if (peers.isEmpty()) {
            metadata.putAll(one.metadata);
            return new DefaultServiceInstance(id, service, one.host, one.port, false, metadata);
        }
        ServiceInstance peer = (ServiceInstance) peers.get(0).known;
        if (peer.getMetadata() != null) {
            metadata.putAll(peer.getMetadata());
        }
        metadata.keySet().removeAll(Arrays.asList(TAGS));
        metadata.putAll(one.metadata);
        ServiceInstance plain =
                new DefaultServiceInstance(id, service, one.host, one.port, peer.isSecure(), metadata);
        return peer.getClass() == DefaultServiceInstance.class ? plain : asPeer(plain, peer.getClass());
    }

    /** The same in a peer's class, where that can be filled. */
    private static ServiceInstance asPeer(ServiceInstance plain, Class<? extends ServiceInstance> type) {
        try {
            ServiceInstance filled = type.getConstructor().newInstance();
            type.getMethod("setServiceId", String.class).invoke(filled, plain.getServiceId());
            type.getMethod("setHost", String.class).invoke(filled, plain.getHost());
            type.getMethod("setPort", int.class).invoke(filled, plain.getPort());
            type.getMethod("setSecure", boolean.class).invoke(filled, plain.isSecure());
            type.getMethod("setMetadata", Map.class).invoke(filled, plain.getMetadata());
            return plain.getUri().equals(filled.getUri()) ? filled : plain;
        } catch (ReflectiveOperationException | RuntimeException otherwise) {
            return plain;
        }
    }

    /** Registries and callers need not agree on letters. */
    private static String lower(String service) {
        return service.toLowerCase(Locale.ROOT);
    }

    /** The lane members of the baggage of the request that this thread serves: group to value. */
    private static Map<String, String> carried() {
        Map<String, String> carried = new HashMap<>();
        Baggage.current().forEach((key, entry) -> {
            if (key.startsWith(PREFIX)) {
                carried.put(key.substring(PREFIX.length()), entry.getValue());
            }
        });
        return carried;
    }
}
