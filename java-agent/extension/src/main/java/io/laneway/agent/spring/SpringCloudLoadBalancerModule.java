package io.laneway.agent.spring;

import io.laneway.agent.RoutingModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.Arrays;
import java.util.List;

/** Spring Cloud LoadBalancer, through which RestTemplate, RestClient, WebClient and Feign find their instances. */
public class SpringCloudLoadBalancerModule extends RoutingModule {
    /** Called by the agent, once. */
    public SpringCloudLoadBalancerModule() {
        super("laneway-spring-cloud-loadbalancer", SupplierInstrumentation.SUPPLIER, "io.laneway.agent.spring.LoadBalancing",
                "io.laneway.agent.spring.LoadBalancing$Offered", "io.laneway.agent.spring.LoadBalancing$Shown");
    }

    @Override
    protected List<TypeInstrumentation> adapters() {
        return Arrays.asList(new SupplierInstrumentation(), new LoadBalancerInstrumentation());
    }
}
