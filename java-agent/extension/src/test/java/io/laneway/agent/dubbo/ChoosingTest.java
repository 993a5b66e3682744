package io.laneway.agent.dubbo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.routing.LaneRouter;
import io.laneway.agent.routing.Registration;
import io.laneway.agent.statistics.Counters;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.context.Scope;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.dubbo.common.URL;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.cluster.ClusterInvoker;
import org.apache.dubbo.rpc.cluster.Directory;
import org.apache.dubbo.rpc.cluster.directory.StaticDirectory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ChoosingTest {
    private final List<String> said = new ArrayList<>();

    @BeforeEach
    void install() {
        Bridge.install(new LaneRouter(null, new Registration("", ""), new Counters(), said::add));
    }

    @AfterEach
    void uninstall() {
        Bridge.install(null);
        assertTrue(said.isEmpty(), said::toString);
    }

    /** One of an interface; {@code more}: parameters of its URL. */
    private static Invoker<?> invoker(Class<?> type, String address, String more) {
        URL url = URL.valueOf("dubbo://" + address + "/Shop?interface=Shop" + more);
        return (Invoker<?>) Proxy.newProxyInstance(ChoosingTest.class.getClassLoader(), new Class<?>[] {type},
                (proxy, method, arguments) -> {
                    switch (method.getName()) {
                        case "getUrl":
                            return url;
                        case "isAvailable":
                            return true;
                        case "equals":
                            return proxy == arguments[0];
                        case "hashCode":
                            return System.identityHashCode(proxy);
                        case "toString":
                            return address;
                        default:
                            return null;
                    }
                });
    }

    private static Invoker<?> of(String application, String address, String tag) {
        String more = "&remote.application=" + application + (tag.isEmpty() ? "" : "&alicloud.service.tag=" + tag);
        return invoker(Invoker.class, address, more);
    }

    private static Directory<?> directory(List<Invoker<?>> all) {
        return (Directory<?>) Proxy.newProxyInstance(ChoosingTest.class.getClassLoader(), new Class<?>[] {Directory.class},
                (proxy, method, arguments) -> {
                    switch (method.getName()) {
                        case "getAllInvokers":
                            return all;
                        case "equals":
                            return proxy == arguments[0];
                        case "hashCode":
                            return System.identityHashCode(proxy);
                        default:
                            return null;
                    }
                });
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Directory<?> fixed(List<Invoker<?>> all) {
        return new StaticDirectory(URL.valueOf("consumer://10.0.0.9/Shop?interface=Shop"), all, null);
    }

    @Test
    void of_each_application_that_offers_an_interface_the_base_or_the_lane_is_called() {
        List<Invoker<?>> all = Arrays.asList(of("one", "10.0.0.1:1", ""), of("one", "10.0.0.2:1", "gray"),
                of("two", "10.0.0.3:1", ""), of("two", "10.0.0.4:1", "blue"));
        assertEquals(Arrays.asList(all.get(0), all.get(2)), Choosing.allowed(directory(all), all));
        try (Scope unused = Baggage.builder().put("lane.trade", "gray").build().makeCurrent()) {
            assertEquals(Arrays.asList(all.get(1), all.get(2)), Choosing.allowed(directory(all), all));
        }
    }

    @Test
    void a_directory_that_has_others_than_before_is_looked_at_again() {
        List<Invoker<?>> all = new ArrayList<>(Arrays.asList(of("one", "10.0.0.1:1", ""), of("one", "10.0.0.2:1", "gray")));
        Directory<?> directory = directory(all);
        assertEquals(all.subList(0, 1), Choosing.allowed(directory, new ArrayList<>(all)));
        all.set(1, of("one", "10.0.0.2:1", ""));
        assertEquals(all, Choosing.allowed(directory, new ArrayList<>(all)));
        all.remove(0);
        assertEquals(all, Choosing.allowed(directory, new ArrayList<>(all)));
    }

    @Test
    void what_dubbos_own_routers_have_left_comes_first_and_the_lane_before_it() {
        List<Invoker<?>> all = Arrays.asList(of("one", "10.0.0.1:1", ""), of("one", "10.0.0.2:1", ""), of("one", "10.0.0.3:1", "gray"));
        assertEquals(all.subList(1, 2), Choosing.allowed(directory(all), all.subList(1, 3)));
        assertEquals(all.subList(0, 2), Choosing.allowed(directory(all), all.subList(2, 3)));
    }

    @Test
    void of_several_groups_the_clusters_choose_and_each_is_decided() {
        List<Invoker<?>> all = Arrays.asList(of("one", "10.0.0.1:1", ""), of("one", "10.0.0.2:1", "gray"));
        assertEquals(all.subList(0, 1), Choosing.allowed(fixed(all), all));
        List<Invoker<?>> clusters = Collections.singletonList(invoker(ClusterInvoker.class, "10.0.0.1:1", "&remote.application=one"));
        assertSame(clusters, Choosing.allowed(fixed(clusters), clusters));
    }

    @Test
    void addresses_that_the_application_names_itself_are_its_own() {
        List<Invoker<?>> all = Arrays.asList(invoker(Invoker.class, "10.0.0.1:1", ""), invoker(Invoker.class, "10.0.0.2:1", "&alicloud.service.tag=gray"));
        assertSame(all, Choosing.allowed(fixed(all), all));
    }
}
