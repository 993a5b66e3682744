package io.laneway.agent.spring;

import static io.opentelemetry.javaagent.extension.matcher.AgentElementMatchers.hasClassesNamed;

import io.laneway.agent.Bootstrap;
import io.opentelemetry.javaagent.extension.instrumentation.InstrumentationModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import net.bytebuddy.matcher.ElementMatcher;

/** Spring Cloud LoadBalancer, through which RestTemplate, RestClient, WebClient and Feign find their instances. */
public class SpringCloudLoadBalancerModule extends InstrumentationModule {
    private final boolean isPossible;

    /** Called by the agent, once. */
    public SpringCloudLoadBalancerModule() {
        super("laneway-spring-cloud-loadbalancer", "laneway");
        isPossible = Bootstrap.inject();
    }

    @Override
    public ElementMatcher.Junction<ClassLoader> classLoaderMatcher() {
        return hasClassesNamed("org.springframework.cloud.loadbalancer.core.ServiceInstanceListSupplier");
    }

    @Override
    public boolean isHelperClass(String className) {
        return getAdditionalHelperClassNames().contains(className);
    }

    @Override
    public List<String> getAdditionalHelperClassNames() {
        return isPossible
                ? Collections.singletonList("io.laneway.agent.spring.LoadBalancing")
                : Collections.<String>emptyList();
    }

    @Override
    public List<TypeInstrumentation> typeInstrumentations() {
        return isPossible
                ? Arrays.asList(new SupplierInstrumentation(), new LoadBalancerInstrumentation())
                : Collections.<TypeInstrumentation>emptyList();
    }
}
