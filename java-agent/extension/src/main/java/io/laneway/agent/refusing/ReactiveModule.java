package io.laneway.agent.refusing;

import io.laneway.agent.RoutingModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.Collections;
import java.util.List;

/** Spring's reactive web applications: WebFlux, and Spring Cloud Gateway. */
public class ReactiveModule extends RoutingModule {
    /** The class whose method is added to. */
    public static final String TRANSFORMED = ReactiveInstrumentation.ADAPTER;

    /** Called by the agent, once. */
    public ReactiveModule() {
        super("laneway-spring-webflux", ReactiveInstrumentation.ADAPTER, "io.laneway.agent.refusing.RefusingReactive");
    }

    @Override
    protected List<TypeInstrumentation> adapters() {
        return Collections.<TypeInstrumentation>singletonList(new ReactiveInstrumentation());
    }
}
