package io.laneway.sample;

import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.cloud.client.loadbalancer.DefaultResponse;
import org.springframework.cloud.loadbalancer.core.ReactorServiceInstanceLoadBalancer;
import org.springframework.cloud.loadbalancer.core.ServiceInstanceListSupplier;
import org.springframework.context.annotation.Bean;

/**
 * A load balancer of the application's own, for one service: it asks for all instances there are, without the request, and
 * takes turns.
 */
class TakesTurns {
    @Bean
    ReactorServiceInstanceLoadBalancer balancer(ObjectProvider<ServiceInstanceListSupplier> supplier) {
        AtomicInteger turn = new AtomicInteger();
        return request -> supplier.getObject().get().next().map(all ->
                new DefaultResponse(all.get(Math.floorMod(turn.getAndIncrement(), all.size()))));
    }
}
