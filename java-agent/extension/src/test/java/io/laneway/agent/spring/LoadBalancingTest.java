package io.laneway.agent.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.bridge.Allowed;
import io.laneway.agent.bridge.Awaited;
import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.bridge.Refusal;
import io.laneway.agent.bridge.Router;
import io.laneway.agent.routing.LaneRouter;
import io.laneway.agent.routing.Registration;
import io.laneway.agent.statistics.Counters;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.context.Scope;
import java.net.URI;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.springframework.cloud.client.DefaultServiceInstance;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.loadbalancer.DefaultResponse;
import org.springframework.cloud.client.loadbalancer.Response;
import org.springframework.cloud.loadbalancer.core.ServiceInstanceListSupplier;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

class LoadBalancingTest {
    /** As Nacos's: its load balancer wants this class and what it writes into metadata. */
    public static final class Registered implements ServiceInstance {
        private String serviceId;
        private String host;
        private int port;
        private boolean secure;
        private Map<String, String> metadata;

        @Override
        public String getServiceId() {
            return serviceId;
        }

        public void setServiceId(String serviceId) {
            this.serviceId = serviceId;
        }

        @Override
        public String getHost() {
            return host;
        }

        public void setHost(String host) {
            this.host = host;
        }

        @Override
        public int getPort() {
            return port;
        }

        public void setPort(int port) {
            this.port = port;
        }

        @Override
        public boolean isSecure() {
            return secure;
        }

        public void setSecure(boolean secure) {
            this.secure = secure;
        }

        @Override
        public URI getUri() {
            return DefaultServiceInstance.getUri(this);
        }

        @Override
        public Map<String, String> getMetadata() {
            return metadata;
        }

        public void setMetadata(Map<String, String> metadata) {
            this.metadata = metadata;
        }
    }

    private static ServiceInstance instance(String host, String tag) {
        Registered instance = new Registered();
        instance.setServiceId("sc-b");
        instance.setHost(host);
        instance.setPort(80);
        instance.setSecure(true);
        Map<String, String> metadata = new HashMap<>(Collections.singletonMap("nacos.weight", "1.0"));
        if (!tag.isEmpty()) {
            metadata.put("alicloud.service.tag", tag);
        }
        instance.setMetadata(metadata);
        return instance;
    }

    private static ServiceInstanceListSupplier supplier(List<ServiceInstance> all) {
        return new ServiceInstanceListSupplier() {
            @Override
            public String getServiceId() {
                return "SC-B";
            }

            @Override
            public Flux<List<ServiceInstance>> get() {
                return Flux.just(all);
            }
        };
    }

    /** What is called in the end, where a load balancer has chosen this one for itself. */
    private static ServiceInstance checked(ServiceInstance chosen) {
        Response<ServiceInstance> response =
                LoadBalancing.checked(Mono.<Response<ServiceInstance>>just(new DefaultResponse(chosen))).block();
        return response.hasServer() ? response.getServer() : null;
    }

    @AfterEach
    void uninstall() {
        Bridge.install(null);
    }

    @Test
    void a_balancer_that_asks_for_all_instances_is_corrected_from_among_them() {
        List<ServiceInstance> all =
                Arrays.asList(instance("10.0.0.1", ""), instance("10.0.0.2", "gray"), instance("10.0.0.3", "blue"));
        Bridge.install(new LaneRouter(null, new Registration("", ""), new Counters(), text -> { }));
        ServiceInstanceListSupplier supplier = supplier(all);
        assertEquals(all, LoadBalancing.seen(supplier, supplier.get()).blockFirst());
        for (ServiceInstance chosen : all) {
            assertSame(all.get(0), checked(chosen));
        }
        try (Scope unused = Baggage.builder().put("lane.trade", "gray").build().makeCurrent()) {
            for (ServiceInstance chosen : all) {
                assertSame(all.get(1), checked(chosen));
            }
        }
    }

    @Test
    void an_instance_that_no_registry_knows_is_of_the_class_and_the_metadata_of_its_peers() {
        List<ServiceInstance> all = Collections.singletonList(instance("10.0.0.1", "blue"));
        Bridge.install(new Router() {
            @Override
            public CompletableFuture<Void> ready(String service) {
                return null;
            }

            @Override
            public Allowed allowed(String service, List<Instance> registered, Map<String, String> carried,
                    AtomicReference<Object> memo) {
                return new Allowed(Collections.singletonList(
                        new Instance("10.0.0.2", 8080, Collections.<String, String>emptyMap(), null)));
            }

            @Override
            public List<Instance> among(String[] services, List<Instance> registered, Predicate<Instance> isAvailable,
                    Map<String, String> carried, AtomicReference<Object> memo) {
                throw new AssertionError();
            }

            @Override
            public Map<String, String> registration(Map<String, String> metadata) {
                throw new AssertionError();
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
                throw new AssertionError(error);
            }
        });
        ServiceInstanceListSupplier supplier = supplier(all);
        List<ServiceInstance> allowed =
                LoadBalancing.allowed(supplier, LoadBalancing.asked(), supplier.get()).blockFirst();
        assertEquals(1, allowed.size());
        assertTrue(allowed.get(0) instanceof Registered, allowed::toString);
        assertEquals("https://10.0.0.2:8080", allowed.get(0).getUri().toString());
        assertEquals(Collections.singletonMap("nacos.weight", "1.0"), allowed.get(0).getMetadata());
    }

    @Test
    void a_list_is_looked_at_again_where_it_has_others_in_it() {
        Bridge.install(new LaneRouter(null, new Registration("", ""), new Counters(), text -> { }));
        for (String base : new String[] {"10.0.0.1", "10.0.0.3"}) {
            ServiceInstanceListSupplier supplier = supplier(Arrays.asList(instance(base, ""), instance("10.0.0.2", "gray")));
            for (int times = 0; times < 2; times++) {
                List<ServiceInstance> allowed =
                        LoadBalancing.allowed(supplier, LoadBalancing.asked(), supplier.get()).blockFirst();
                assertEquals(1, allowed.size());
                assertEquals(base, allowed.get(0).getHost());
            }
        }
    }
}
