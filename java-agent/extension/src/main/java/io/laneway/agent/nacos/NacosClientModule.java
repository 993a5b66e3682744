package io.laneway.agent.nacos;

import io.laneway.agent.AdapterModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.Collections;
import java.util.List;

/** Nacos's client, by which Spring Cloud Alibaba and Dubbo register. */
public class NacosClientModule extends AdapterModule {
    /** Called by the agent, once. */
    public NacosClientModule() {
        super("laneway-nacos-client", NamingServiceInstrumentation.SERVICE, "io.laneway.agent.nacos.Registering");
    }

    @Override
    protected List<TypeInstrumentation> adapters() {
        return Collections.<TypeInstrumentation>singletonList(new NamingServiceInstrumentation());
    }
}
