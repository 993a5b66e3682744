package io.laneway.agent.routing;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.discovery.Told;
import io.laneway.agent.discovery.View;
import io.laneway.agent.spring.LoadBalancing;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.context.Scope;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.springframework.cloud.client.DefaultServiceInstance;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.loadbalancer.DefaultResponse;
import org.springframework.cloud.client.loadbalancer.Response;
import org.springframework.cloud.loadbalancer.core.ServiceInstanceListSupplier;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * What the agent adds to a call through Spring Cloud LoadBalancer, all of it: the baggage is read, the list of instances decided on, and the
 * choice looked at. {@code bare} is the same call without it. A fifth of the instances are in the lane.
 *
 * <p>{@code mvn -Pcost verify}.
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 3, time = 2)
@Fork(value = 1, jvmArgs = "-Xmx256m")
@State(org.openjdk.jmh.annotations.Scope.Thread)
public class CallCost {
    private static final int GRAY_EVERY = 5;

    /** Of the service that is called. */
    @Param({"3", "30", "300"})
    public int instances;

    /** Of the request. */
    @Param({"base", "gray"})
    public String lane;

    private ServiceInstanceListSupplier supplier;
    private Scope request;
    private int turn;

    /** A picture, the application's own list, and a request on this thread. */
    @Setup
    public void begin() {
        List<ServiceInstance> all = new ArrayList<>();
        String[] told = new String[instances];
        for (int number = 0; number < instances; number++) {
            String host = "10.0." + number / 250 + "." + (1 + number % 250);
            all.add(new DefaultServiceInstance("i" + number, "sc-b", host, 8080, false));
            told[number] = host + ":8080" + (number % GRAY_EVERY == 0 ? "=gray" : "");
        }
        View view = new Told().lenient().service("sc-b", told).view();
        Bridge.install(new Following(view));
        supplier = new ServiceInstanceListSupplier() {
            @Override
            public String getServiceId() {
                return "sc-b";
            }

            @Override
            public Flux<List<ServiceInstance>> get() {
                return Flux.just(all);
            }
        };
        // As a load balancer's cache asks for it.
        LoadBalancing.seen(supplier, supplier.get()).blockFirst();
        request = (lane.equals("base") ? Baggage.empty() : Baggage.builder().put("lane.trade", lane).build()).makeCurrent();
    }

    /** The request is over. */
    @TearDown
    public void end() {
        request.close();
    }

    /** A call under the agent. */
    @Benchmark
    public Response<ServiceInstance> underTheAgent() {
        List<ServiceInstance> allowed = LoadBalancing.allowed(supplier, LoadBalancing.asked(), supplier.get()).blockFirst();
        return LoadBalancing.checked(Mono.just(next(allowed))).block();
    }

    /** The same without it. */
    @Benchmark
    public Response<ServiceInstance> bare() {
        return Mono.just(next(supplier.get().blockFirst())).block();
    }

    /** As a load balancer that takes turns. */
    private Response<ServiceInstance> next(List<ServiceInstance> all) {
        turn = (turn + 1) % all.size();
        return new DefaultResponse(all.get(turn));
    }
}
