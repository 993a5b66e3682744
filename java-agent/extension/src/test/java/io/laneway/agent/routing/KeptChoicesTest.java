package io.laneway.agent.routing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Instance;
import io.laneway.agent.decision.Endpoint;
import io.laneway.agent.decision.Service;
import io.laneway.agent.discovery.Told;
import io.laneway.agent.spring.LoadBalancing;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.context.Scope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.springframework.cloud.client.DefaultServiceInstance;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.loadbalancer.DefaultResponse;
import org.springframework.cloud.client.loadbalancer.Response;
import org.springframework.cloud.loadbalancer.core.ServiceInstanceListSupplier;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * What is kept from call to call, against what is found out anew by looking at everything: while the picture, the application's list and
 * what requests carry change at random, one after the other and together.
 */
class KeptChoicesTest {
    private static final String SERVICE = "sc-kept";
    private static final String[] TAGS = {"", "", "gray", "gray", "blue"};
    private static final int HOSTS = 9;
    private static final int STEPS = 20_000;

    /** What the name of the service means. */
    private enum Meaning { INSTANCES, NOTHING, SEVERAL, NOT_KNOWN_YET }

    private final Random random = new Random(9);
    private final Following router = new Following(new Told().view());
    private Meaning meaning = Meaning.NOT_KNOWN_YET;
    private boolean isStrict;
    private boolean isSwitchedOff;
    private List<Endpoint> endpoints = new ArrayList<>();
    private Service service = new Service(SERVICE, "app-b", endpoints);
    private List<ServiceInstance> registered = new ArrayList<>();
    private int made;

    private final ServiceInstanceListSupplier supplier = new ServiceInstanceListSupplier() {
        @Override
        public String getServiceId() {
            return SERVICE;
        }

        @Override
        public Flux<List<ServiceInstance>> get() {
            return Flux.just(registered);
        }
    };

    @AfterEach
    void uninstall() {
        Bridge.install(null);
    }

    @Test
    void what_is_kept_is_what_would_be_found_out() {
        Bridge.install(router);
        int[] sizes = new int[3];
        for (int step = 0; step < STEPS; step++) {
            change();
            String lane = TAGS[random.nextInt(TAGS.length)];
            try (Scope unused = (lane.isEmpty() ? Baggage.empty() : Baggage.builder().put("lane.trade", lane).build()).makeCurrent()) {
                sizes[Math.min(2, shown(lane, "step " + step))]++;
                checked(lane, "step " + step);
            }
        }
        // Nobody, one and several are all met with often.
        assertTrue(sizes[0] > STEPS / 20 && sizes[1] > STEPS / 20 && sizes[2] > STEPS / 20, Arrays.toString(sizes));
    }

    @Test
    void what_is_kept_of_connections_is_what_would_be_found_out() {
        List<ServiceInstance> last = null;
        List<Instance> connected = new ArrayList<>();
        AtomicReference<Object> memo = new AtomicReference<>();
        int[] broken = new int[2];
        for (int step = 0; step < STEPS; step++) {
            change();
            if (last == null || !isSame(last, registered)) {
                last = new ArrayList<>(registered);
                connected = new ArrayList<>();
                for (ServiceInstance one : last) {
                    connected.add(new Instance(one.getHost(), one.getPort(), one.getMetadata(), address(one)));
                }
            }
            Set<Object> away = new HashSet<>();
            if (random.nextBoolean()) {
                connected.stream().filter(one -> random.nextInt(3) == 0).forEach(one -> away.add(one.known));
            }
            broken[away.isEmpty() ? 0 : 1]++;
            String lane = TAGS[random.nextInt(TAGS.length)];
            Map<String, String> carried =
                    lane.isEmpty() ? Collections.<String, String>emptyMap() : Collections.singletonMap("trade", lane);
            List<Object> found = new ArrayList<>();
            router.among(new String[] {SERVICE}, connected, one -> !away.contains(one.known), carried, memo)
                    .forEach(one -> found.add(one.known));
            assertEquals(slowlyConnected(lane, away), found, "step " + step);
        }
        assertTrue(broken[0] > STEPS / 4 && broken[1] > STEPS / 4, Arrays.toString(broken));
    }

    private static boolean isSame(List<ServiceInstance> one, List<ServiceInstance> other) {
        return one.size() == other.size() && IntStream.range(0, one.size()).allMatch(at -> one.get(at) == other.get(at));
    }

    /** Whom there is a connection to, as {@link #slowly}: who is away counts where nobody else may be called. */
    private List<String> slowlyConnected(String lane, Set<Object> away) {
        if (meaning != Meaning.INSTANCES) {
            return slowly(registered, lane);
        }
        List<Endpoint> all = endpoints;
        List<String> connected = addresses(registered);
        endpoints = all.stream().filter(one -> connected.contains(one.address)).collect(Collectors.toList());
        List<Endpoint> reachable = endpoints;
        endpoints = reachable.stream().filter(one -> !away.contains(one.address)).collect(Collectors.toList());
        List<String> found = slowly(registered, lane);
        if (found.isEmpty()) {
            endpoints = reachable;
            found = slowly(registered, lane);
        }
        endpoints = all;
        return found;
    }

    /** What a supplier's answer becomes; it is the application's to change. */
    private int shown(String lane, String at) {
        List<ServiceInstance> all = LoadBalancing.seen(supplier, supplier.get()).blockFirst();
        assertSame(registered, all, at);
        List<ServiceInstance> allowed = LoadBalancing.allowed(supplier, LoadBalancing.asked(), supplier.get()).blockFirst();
        List<String> expected = slowly(registered, lane);
        assertEquals(expected, addresses(allowed), at);
        for (ServiceInstance one : allowed) {
            boolean isRegistered = addresses(registered).contains(address(one));
            assertEquals(isRegistered, registered.stream().anyMatch(known -> known == one), at);
        }
        if (allowed != registered) {
            allowed.clear();
        }
        return expected.size();
    }

    /** What becomes of a load balancer's own choice: among what it was offered, or something else. */
    private void checked(String lane, String at) {
        ServiceInstance chosen = registered.isEmpty() || random.nextInt(4) == 0
                ? instance()
                : registered.get(random.nextInt(registered.size()));
        List<ServiceInstance> all = new ArrayList<>(registered);
        if (!all.contains(chosen)) {
            all.add(chosen);
        }
        List<String> expected = slowly(all, lane);
        Response<ServiceInstance> response = new DefaultResponse(chosen);
        Response<ServiceInstance> checked = LoadBalancing.checked(Mono.just(response)).block();
        if (expected.contains(address(chosen))) {
            assertSame(response, checked, at);
        } else if (expected.isEmpty()) {
            assertTrue(!checked.hasServer(), at);
        } else {
            assertTrue(expected.contains(address(checked.getServer())), at);
        }
    }

    /** Who may be called, by looking at everything there is. */
    private List<String> slowly(List<ServiceInstance> all, String lane) {
        switch (meaning) {
            case SEVERAL:
                return Collections.emptyList();
            case NOTHING:
                return tagged(all, "");
            case NOT_KNOWN_YET:
                List<String> own = lane.isEmpty() ? Collections.<String>emptyList() : tagged(all, lane);
                return own.isEmpty() ? tagged(all, "") : own;
            default:
                boolean isMember = lane.equals("gray");
                List<String> in = isMember && !isSwitchedOff ? usable(lane) : Collections.<String>emptyList();
                return !in.isEmpty() || isMember && isStrict ? in : usable("");
        }
    }

    private static List<String> tagged(List<ServiceInstance> all, String tag) {
        return all.stream().filter(one -> one.getMetadata().getOrDefault("laneway.io/tag", "").equals(tag))
                .map(KeptChoicesTest::address).collect(Collectors.toList());
    }

    private List<String> usable(String tag) {
        List<Endpoint> usable = endpoints.stream().filter(one -> one.usable && one.tag.equals(tag)).collect(Collectors.toList());
        boolean isAnyWeighty = usable.stream().anyMatch(one -> one.weight > 0);
        return usable.stream().filter(one -> one.weight > 0 || !isAnyWeighty).map(one -> one.address).collect(Collectors.toList());
    }

    private void change() {
        switch (random.nextInt(8)) {
            case 0:
                if (registered.size() < HOSTS - 1) {
                    registered.add(instance());
                }
                break;
            case 1:
                if (!registered.isEmpty()) {
                    registered.remove(random.nextInt(registered.size()));
                }
                break;
            case 2:
                if (!registered.isEmpty()) {
                    registered.set(random.nextInt(registered.size()), instance());
                }
                break;
            case 3:
                registered = new ArrayList<>(registered);
                break;
            case 4:
                endpoints = new ArrayList<>(endpoints);
                if (endpoints.size() == HOSTS || random.nextInt(3) == 0 && !endpoints.isEmpty()) {
                    endpoints.remove(random.nextInt(endpoints.size()));
                } else {
                    endpoints.add(endpoint());
                }
                service = new Service(SERVICE, "app-b", endpoints);
                view();
                break;
            case 5:
                meaning = random.nextBoolean() ? Meaning.INSTANCES : Meaning.values()[random.nextInt(Meaning.values().length)];
                view();
                break;
            case 6:
                isStrict = random.nextBoolean();
                isSwitchedOff = random.nextInt(4) == 0;
                view();
                break;
            default:
                // The next call finds everything as it was.
        }
    }

    /** A new picture, of which the service may be the same. */
    private void view() {
        Told told = new Told();
        if (!isStrict) {
            told.lenient();
        }
        if (isSwitchedOff) {
            told.switchedOff();
        }
        switch (meaning) {
            case INSTANCES:
                told.service(service);
                break;
            case NOTHING:
                told.nothing(SERVICE);
                break;
            case SEVERAL:
                told.several(SERVICE, "nacos", "fixed");
                break;
            default:
        }
        router.view = told.view();
    }

    private Endpoint endpoint() {
        List<String> taken = endpoints.stream().map(one -> one.address).collect(Collectors.toList());
        Endpoint endpoint = new Endpoint();
        do {
            endpoint.address = host() + ":80";
        } while (taken.contains(endpoint.address));
        endpoint.tag = TAGS[random.nextInt(TAGS.length)];
        endpoint.usable = random.nextInt(5) > 0;
        endpoint.weight = random.nextInt(3);
        return endpoint;
    }

    /** Of one address at a time there is one; some address is always left. */
    private ServiceInstance instance() {
        List<String> taken = addresses(registered);
        String host;
        do {
            host = host();
        } while (taken.contains(host + ":80"));
        String tag = TAGS[random.nextInt(TAGS.length)];
        Map<String, String> metadata =
                tag.isEmpty() ? Collections.<String, String>emptyMap() : Collections.singletonMap("laneway.io/tag", tag);
        return new DefaultServiceInstance("i" + made++, SERVICE, host, 80, false, metadata);
    }

    private String host() {
        return "10.0.0." + (1 + random.nextInt(HOSTS));
    }

    private static List<String> addresses(List<ServiceInstance> all) {
        return all.stream().map(KeptChoicesTest::address).collect(Collectors.toList());
    }

    private static String address(ServiceInstance one) {
        return one.getHost() + ":" + one.getPort();
    }
}
